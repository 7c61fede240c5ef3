/* An LSTM by hand, gates in Keras's order i, f, c, o:

       i, f, g, o = split(x_t U + h_{t-1} W + b)
       c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)
       h_t = sigmoid(o) tanh(c_t)

       lstm B T F H WEIGHTS STATE CELL INPUT OUTPUT

   WEIGHTS holds U (F, 4H), W (H, 4H) and b (4H); STATE and CELL the initial h and c (B, H); INPUT
   a row of F numbers for each timestep, sample after sample; OUTPUT is written in the same way with
   H numbers.

   A mistake is compiled in with -DNAME, to see it found. */

#include <math.h>
#include <string.h>

#include "numbers.h"

#ifdef GATES_PERMUTED
enum { I, O, F_, G }; /* ONNX's order */
#else
enum { I, F_, G, O };
#endif

static float sigmoid(float z) {
#ifdef RECURRENT_ACTIVATION_SWAPPED
    return fminf(fmaxf(0.2f * z + 0.5f, 0), 1);
#else
    return 1 / (1 + expf(-z));
#endif
}

static float activation(float z) {
#ifdef ACTIVATION_SWAPPED
    return sigmoid(z);
#else
    return tanhf(z);
#endif
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: lstm B T F H WEIGHTS STATE CELL INPUT OUTPUT\n");
        return 2;
    }
    int B = atoi(argv[1]), T = atoi(argv[2]), F = atoi(argv[3]), H = atoi(argv[4]);
    float *U = read_numbers(argv[5], (F + H + 1) * 4 * H);
    float *W = U + F * 4 * H, *bias = W + H * 4 * H;
    float *h = read_numbers(argv[6], B * H), *c = read_numbers(argv[7], B * H);
    float *x = read_numbers(argv[8], B * T * F);
    float *z = malloc(4 * H * sizeof *z);
    FILE *output = fopen(argv[9], "w");

#ifdef INITIAL_STATE_IGNORED
    memset(h, 0, B * H * sizeof *h);
    memset(c, 0, B * H * sizeof *c);
#endif
    for (int b = 0; b < B; b++, h += H, c += H) {
        for (int t = 0; t < T; t++, x += F) {
            for (int j = 0; j < 4 * H; j++) {
#ifdef BIAS_DROPPED
                z[j] = 0;
#else
                z[j] = bias[j];
#endif
#ifdef FORGET_BIAS_DOUBLED
                if (j / H == F_)
                    z[j] += 1; /* it is in the bias already */
#endif
                for (int i = 0; i < F; i++)
                    z[j] += x[i] * U[i * 4 * H + j];
                for (int i = 0; i < H; i++)
                    z[j] += h[i] * W[i * 4 * H + j];
            }
            for (int j = 0; j < H; j++) {
                float input = sigmoid(z[I * H + j]) * activation(z[G * H + j]);
                c[j] = sigmoid(z[F_ * H + j]) * c[j] + input;
                h[j] = sigmoid(z[O * H + j]) * activation(c[j]);
            }
            write_row(output, h, H);
        }
    }
    return fclose(output);
}
