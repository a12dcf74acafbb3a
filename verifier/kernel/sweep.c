/* Lemma E (events.py) and the passes over all inputs (logits.py), compiled: the same integers as the array code.
 *
 * The caller has proved that no product or sum leaves 64 bits, that values fit 32 bits, and the ranges named below.
 * Nothing is checked here. A compiler without GNU C's vectors fails, and then the array code runs.
 */
#include <stdint.h>

/* Raised with every change of an argument; events.py uses no library of another number. */
const int64_t interface = 4;

#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
#define FAST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FAST
#endif
typedef int64_t vector __attribute__((vector_size(64), aligned(8), may_alias)); /* LANES at a time */
#define LANES 8
#define AHEAD 8  /* neurons, or rows: where the processor shall look next */
#define FAR 16   /* tokens, the same */
#define INDEX 13 /* bits of an index */

static int64_t place(int64_t entry) { return entry & ((1 << INDEX) - 1); }

/* keys[i] [2p] is the ascending order of A[i][a], with index a, and of -B[i][b], with index p + b: value << INDEX | index.
 * For each half, the entries in ascending order, value << INDEX | token; and, at the step of every token of the other half
 * (steps[token]), how many of them are active with it. Rows of entries are p + 1 apart, and an A may be written to the
 * place before a row of B, or a B behind a row of A.
 */
void
halves(int64_t p, int64_t m, const int64_t *keys, const int64_t *steps, int64_t *entries_a, int32_t *ranks_a,
       int64_t *entries_b, int32_t *ranks_b)
{
    for (int64_t i = 0; i < m; i++) {
        const int64_t *key = keys + 2 * p * i;
        int64_t *a = entries_a + (p + 1) * i, *b = entries_b + (p + 1) * i, below = 0; /* how many -B were passed */
        for (int64_t j = 0; j < 2 * p; j++) {
            int64_t of_b = place(key[j]) >= p, token = place(key[j]) - (of_b ? p : 0);
            a[j - below] = key[j]; /* to stay if it is an A, or to be written over */
            b[p - 1 - below] = token - (key[j] & -(1 << INDEX)); /* to stay if it is a B */
            int32_t *ranks = of_b ? ranks_a : ranks_b;
            ranks[steps[token] * m + i] = (int32_t)(of_b ? p - j + below : below); /* the A after it; the B before it */
            below += of_b;
        }
    }
}

/* Step t: the last ranks[t][i] entries of neuron i are active. From step to step those between the two ranks become
 * active, or stop being so: sums[x][l] gains or loses value * lanes[i][l] for such an entry, x its token. After each step
 * the first `width` sums are added to the row of out that belongs to tokens[t].
 * 0 <= ranks <= p, 0 <= x < p, 0 <= tokens < p; wide >= width, a multiple of LANES, is how long rows of lanes and sums
 * are; sums: p * wide zeros. Strides of out are in elements; its lanes are adjacent.
 */
FAST void
sweep(int64_t p, int64_t m, int64_t width, int64_t wide, const int32_t *ranks, const int64_t *entries,
      const int64_t *lanes, const int64_t *tokens, int64_t *restrict sums, int64_t *restrict out, int64_t step_stride,
      int64_t token_stride)
{
    for (int64_t t = 0; t < p; t++) {
        for (int64_t i = 0; i < m; i++) {
            int64_t now = ranks[t * m + i], last = t ? ranks[(t - 1) * m + i] : 0, sign = now > last ? 1 : -1;
            int64_t first = -(sign > 0 ? now : last), end = -(sign > 0 ? last : now);
            const int64_t *row = entries + i * (p + 1) + p;
            if (i + AHEAD < m)
                __builtin_prefetch(row + AHEAD * (p + 1) - ranks[t * m + i + AHEAD]);
            for (int64_t l = 0; l < wide; l += LANES) {
                vector lane = *(const vector *)(lanes + i * wide + l);
                for (int64_t k = first; k < end; k++)
                    *(vector *)(sums + place(row[k]) * wide + l) += sign * (row[k] >> INDEX) * lane;
            }
        }
        int64_t *row = out + tokens[t] * step_stride;
        for (int64_t x = 0; x < p; x++) {
            const int64_t *next = row + (x + FAR) * token_stride; /* beyond the end this is a wasted look, no more */
            __builtin_prefetch(next, 1);
            __builtin_prefetch(next + width / 2, 1);
            __builtin_prefetch(next + width - 1, 1);
            for (int64_t l = 0; l < width; l++)
                row[x * token_stride + l] += sums[x * wide + l];
        }
    }
}

/* learned.py, one pass over all inputs: with hidden[i] = max(0, (A[a][i] + B[b][i]) * 2^shift + the sum over k < count of
 * sigma[a][b][k] * M[i], M = moves + starts[k] + a * by_a[k] + b * by_b[k]) / 2^shift, rounded down, sums[a][b][l] gains
 * the sum of hidden[i] * lanes[l][i]. n, the length of all these rows, is a multiple of LANES; hidden: n places, rows: count.
 */
FAST void
dense(int64_t p, int64_t n, int64_t count, int64_t width, int64_t shift, const int64_t *A, const int64_t *B,
      const int64_t *sigma, const int64_t *moves, const int64_t *starts, const int64_t *by_a, const int64_t *by_b,
      const int64_t *lanes, vector *restrict hidden, int64_t *restrict rows, int64_t *restrict sums)
{
    for (int64_t a = 0; a < p; a++)
        for (int64_t b = 0; b < p; b++, sigma += count, sums += width) {
            for (int64_t k = 0; k < count; k++)
                rows[k] = starts[k] + a * by_a[k] + b * by_b[k];
            for (int64_t i = 0; i < n; i += LANES) {
                vector y = (*(const vector *)(A + a * n + i) + *(const vector *)(B + b * n + i)) << shift;
                for (int64_t k = 0; k < count; k++)
                    y += sigma[k] * *(const vector *)(moves + rows[k] + i);
                hidden[i / LANES] = (y >> shift) & ~(y >> 63); /* zero where y < 0 */
            }
            for (int64_t l = 0; l < width; l++) {
                vector sum = {0};
                for (int64_t i = 0; i < n; i += LANES)
                    sum += hidden[i / LANES] * *(const vector *)(lanes + l * n + i);
                for (int64_t u = 0; u < LANES; u++)
                    sums[l] += sum[u];
            }
        }
}

static int64_t lesser(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t greater(int64_t x, int64_t y) { return x < y ? y : x; }

/* logits.py, every logit: values[r] [p] are the logits of an input, the right one at t[r / m], delta[r % m] its a - b.
 * Per input: the least gap of the right one to that d further (mod p), d > 0, and the range of all gaps less the closed form's; and by
 * delta and d, spread is raised to the size of that difference.
 */
FAST void
gaps(int64_t rows, int64_t m, int64_t p, const int64_t *values, const int64_t *t, const int64_t *delta,
     const int64_t *form, int64_t *restrict margins, int64_t *restrict ranges, int64_t *restrict spread)
{
    for (int64_t r = 0; r < rows; r++) {
        const int64_t *row = values + r * p, *closed = form + delta[r % m] * p;
        int64_t *far = spread + delta[r % m] * p, at = t[r / m], right = row[at];
        int64_t least = INT64_MAX, low = INT64_MAX, high = INT64_MIN;
        for (int64_t c = 0; c < p; c++)
            least = lesser(least, right - row[c] + (c == at ? INT64_MAX / 2 : 0));
        for (int64_t half = 0; half < 2; half++) { /* d < p - at, where c = at + d, and the others */
            const int64_t *from = row + at - half * p;
            for (int64_t d = half ? p - at : 0; d < (half ? p : p - at); d++) {
                int64_t left = right - from[d] - closed[d];
                low = lesser(low, left);
                high = greater(high, left);
                far[d] = greater(far[d], greater(left, -left));
            }
        }
        margins[r] = least;
        ranges[r] = high - low;
    }
}

/* logits.py, Fourier coefficients: waves[r] has `count` real parts and then as many imaginary ones. By delta they raise
 * high, and lower low; less the closed form's, which is left in waves, their squares raise network.
 */
FAST void
discs(int64_t rows, int64_t m, int64_t count, int64_t shift, int64_t *restrict waves, const int64_t *delta,
      const int64_t *form, int64_t *restrict low, int64_t *restrict high, int64_t *restrict network)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t *row = waves + r * 2 * count, at = delta[r % m] * count;
        for (int64_t j = 0; j < 2 * count; j++) {
            low[2 * at + j] = lesser(low[2 * at + j], row[j]);
            high[2 * at + j] = greater(high[2 * at + j], row[j]);
            row[j] -= form[2 * at + j];
        }
        for (int64_t j = 0; j < count; j++) {
            int64_t x = row[j] >> shift, y = row[count + j] >> shift;
            network[at + j] = greater(network[at + j], x * x + y * y);
        }
    }
}

/* logits.py, a few offsets: for every input with a - b = delta[r] and each of its `count` offsets d, found[delta][a + b] is
 * lowered to (directions[a + b] - directions[a + b + d]) * sums[a][b]; all indices are mod p, 0 <= offsets < p.
 */
FAST void
offsets(int64_t p, int64_t lanes, int64_t rows, int64_t count, const int64_t *delta, const int64_t *offsets,
        const int64_t *sums, const int64_t *directions, int64_t *restrict found)
{
    for (int64_t a = 0; a < p; a++) /* outside, so that a row of sums stays in the cache */
        for (int64_t r = 0; r < rows; r++) {
            int64_t b = (a + p - delta[r]) % p, t = (a + b) % p, least = found[delta[r] * p + t];
            const int64_t *own = sums + (a * p + b) * lanes, *right = directions + t * lanes;
            for (int64_t k = 0; k < count; k++) {
                const int64_t *other = directions + (t + offsets[r * count + k]) % p * lanes;
                int64_t gap = 0;
                for (int64_t l = 0; l < lanes; l++)
                    gap += (right[l] - other[l]) * own[l];
                least = lesser(least, gap);
            }
            found[delta[r] * p + t] = least;
        }
}
