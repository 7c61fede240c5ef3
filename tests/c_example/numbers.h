/* Reading and writing numbers as text, separated by commas, spaces or newlines. */

#include <stdio.h>
#include <stdlib.h>

static float *read_numbers(const char *path, int count) {
    FILE *file = fopen(path, "r");
    float *numbers = malloc(count * sizeof *numbers);
    for (int i = 0; i < count; i++) {
        if (file == NULL || fscanf(file, "%f%*[, \n]", &numbers[i]) < 1) {
            fprintf(stderr, "%s: expected %d numbers, found %d\n", path, count, i);
            exit(1);
        }
    }
    fclose(file);
    return numbers;
}

static void write_row(FILE *file, const float *numbers, int count) {
    /* 9 digits tell all float32 numbers apart. */
    for (int i = 0; i < count; i++)
        fprintf(file, "%.9g%c", numbers[i], i + 1 < count ? ',' : '\n');
}
