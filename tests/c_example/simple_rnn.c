/* A SimpleRNN by hand: h_t = tanh(x_t U + h_{t-1} W + b).

       simple_rnn B T F H WEIGHTS STATE INPUT OUTPUT

   WEIGHTS holds U (F, H), W (H, H) and b (H); STATE the initial states (B, H); INPUT a row of F
   numbers for each timestep, sample after sample; OUTPUT is written in the same way with H numbers.

   A mistake is compiled in with -DNAME, to see it found. */

#include <math.h>
#include <string.h>

#include "numbers.h"

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: simple_rnn B T F H WEIGHTS STATE INPUT OUTPUT\n");
        return 2;
    }
    int B = atoi(argv[1]), T = atoi(argv[2]), F = atoi(argv[3]), H = atoi(argv[4]);
    float *U = read_numbers(argv[5], F * H + H * H + H), *W = U + F * H, *bias = W + H * H;
    float *h = read_numbers(argv[6], B * H);
    float *x = read_numbers(argv[7], B * T * F);
    float *next = malloc(H * sizeof *next);
    FILE *output = fopen(argv[8], "w");

#ifdef INITIAL_STATE_IGNORED
    memset(h, 0, B * H * sizeof *h);
#endif
    for (int b = 0; b < B; b++, h += H) {
        for (int t = 0; t < T; t++, x += F) {
#ifdef TIME_SHIFTED
            write_row(output, h, H);
#endif
            for (int j = 0; j < H; j++) {
#ifdef BIAS_DROPPED
                float z = 0;
#elif defined(BIAS_DOUBLED)
                float z = 2 * bias[j];
#else
                float z = bias[j];
#endif
                for (int i = 0; i < F; i++)
#ifdef FEATURES_PERMUTED
                    z += x[F - 1 - i] * U[i * H + j];
#else
                    z += x[i] * U[i * H + j];
#endif
                for (int i = 0; i < H; i++)
#ifdef RECURRENT_KERNEL_TRANSPOSED
                    z += h[i] * W[j * H + i];
#else
                    z += h[i] * W[i * H + j];
#endif
#ifdef ACTIVATION_SWAPPED
                next[j] = 1 / (1 + expf(-z));
#else
                next[j] = tanhf(z);
#endif
#ifdef UPDATED_IN_PLACE
                h[j] = next[j]; /* the units that follow read the new state already */
#endif
            }
            memcpy(h, next, H * sizeof *h);
#ifndef TIME_SHIFTED
            write_row(output, h, H);
#endif
        }
    }
    return fclose(output);
}
