/* Lemma E (events.py), compiled: the same integers as the array code, without index arrays.
 *
 * The caller has proved that no sum leaves 64 bits, that values and lanes fit 32 bits, and the ranges named below.
 * Nothing is checked here.
 */
#include <stdint.h>

/* keys[i] [2p] is the ascending order of A[i][a], with index a, and of -B[i][b], with index p + b: value << bits | index.
 * For each half, in ascending order of its entries: which token and which value; and, at the step of every token of the
 * other half (steps[token]), how many entries of this half are active with it.
 */
void
halves(int64_t p, int64_t m, int64_t bits, const int64_t *keys, const int64_t *steps, int32_t *places_a,
       int32_t *values_a, int32_t *ranks_a, int32_t *places_b, int32_t *values_b, int32_t *ranks_b)
{
    for (int64_t i = 0; i < m; i++) {
        int64_t below = 0; /* how many -B were passed */
        for (int64_t j = 0; j < 2 * p; j++) {
            int64_t key = keys[2 * p * i + j], index = key & ((1 << bits) - 1);
            int32_t value = (int32_t)(key >> bits);
            if (index < p) {
                places_a[i * p + j - below] = (int32_t)index;
                values_a[i * p + j - below] = value;
                ranks_b[steps[index] * m + i] = (int32_t)below; /* active with the B whose -B are less */
            } else {
                below++;
                places_b[i * p + p - below] = (int32_t)(index - p);
                values_b[i * p + p - below] = -value;
                ranks_a[steps[index - p] * m + i] = (int32_t)(p - 1 - j + below); /* with the A that come after */
            }
        }
    }
}

/* Step t: the last ranks[t][i] entries of neuron i are active. From step to step those between the two ranks become
 * active, or stop being so: sums[x][l] gains or loses values[i][k] * lanes[i][l], x = places[i][k]. After each step sums
 * is added to the row of out that belongs to tokens[t].
 * 0 <= ranks <= p, 0 <= places < p, 0 <= tokens < p; sums: p * width zeros. Strides of out are in elements; lanes are
 * adjacent.
 */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void
sweep(int64_t p, int64_t m, int64_t width, const int32_t *ranks, const int32_t *places, const int32_t *values,
      const int32_t *lanes, const int64_t *tokens, int64_t *sums, int64_t *out, int64_t step_stride, int64_t token_stride)
{
    for (int64_t t = 0; t < p; t++) {
        for (int64_t i = 0; i < m; i++) {
            int32_t now = ranks[t * m + i], last = t ? ranks[(t - 1) * m + i] : 0;
            int64_t first = p - (now > last ? now : last), end = p - (now > last ? last : now);
            for (int64_t k = i * p + first; k < i * p + end; k++) {
                int64_t value = now > last ? values[k] : -(int64_t)values[k];
                int64_t *sum = sums + places[k] * width;
                const int32_t *lane = lanes + i * width;
                for (int64_t l = 0; l < width; l++)
                    sum[l] += (int32_t)value * (int64_t)lane[l];
            }
        }
        int64_t *row = out + tokens[t] * step_stride;
        for (int64_t x = 0; x < p; x++)
            for (int64_t l = 0; l < width; l++)
                row[x * token_stride + l] += sums[x * width + l];
    }
}
