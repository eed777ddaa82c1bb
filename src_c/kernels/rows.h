/* Rows of values that are taken together: softmax, cross-entropy, sums, and normalisation, by a row's own moments or
 * norm, or by neighbours; see ck_rows. Lanes are rows, whichever way they lie. Sums are of doubles, in two chains of
 * values; those of a few neighbours' squares of the call's own numbers, in one: the bits are the same for every vector
 * and order of the axes. */
#ifndef CK_KERNEL_ROWS_H
#define CK_KERNEL_ROWS_H

#include "channels.h"
#include "transpose.h"

enum { ROW_PARTS = VL / WIDE, ROW_CHAINS = 2 }; /* vectors of doubles that one of reals makes */

/* Values k..k+n-1 of the rows, a vector of rows each. Rows that are not there repeat the last one, or are zero. */
CK_INLINE void row_block(const ck_row_tile *t, const char *const *from, int64_t step, int along, int64_t k, int64_t n,
                         vreal r[VL]) {
  if (along) {
    CK_UNROLL
    for (int q = 0; q < VL; q++)
      r[q] = load_first(from[q < t->rows ? q : t->rows - 1] + k * (int64_t)sizeof(REAL), n);
    transpose(r);
  } else {
    const char *src = from[0] + k * step;
    CK_ROLLED
    for (int q = 0; q < VL; q++, src += step)
      r[q] = q < n ? load_first(src, t->rows) : (vreal){0};
  }
}

CK_INLINE void store_block(const ck_row_tile *t, int64_t k, int64_t n, vreal r[VL]) {
  if (t->y_along) {
    transpose(r);
    CK_ROLLED
    for (int q = 0; q < t->rows; q++)
      store_first(t->y[q] + k * (int64_t)sizeof(REAL), r[q], n);
  } else {
    char *dst = t->y[0] + k * t->y_step;
    CK_ROLLED
    for (int q = 0; q < n; q++, dst += t->y_step)
      store_first(dst, r[q], t->rows);
  }
}

CK_INLINE void widen(vreal v, vwide to[ROW_PARTS]) {
  vnarrow part[ROW_PARTS];
  __builtin_memcpy(part, &v, sizeof(v));
  CK_UNROLL
  for (int p = 0; p < ROW_PARTS; p++)
    to[p] = widened(part[p]);
}

CK_INLINE void chain_sums(vwide chains[ROW_CHAINS][ROW_PARTS], double to[VL]) {
  CK_UNROLL
  for (int p = 0; p < ROW_PARTS; p++)
    chains[0][p] += chains[1][p];
  memcpy(to, chains[0], VL * sizeof(double));
}

/* ---------------------------------------------------------------- sums */

#if REAL_IS_FLOAT /* squares of doubles have nothing wider */

/* Of each row: its first value or, without a mean, 0; and the sums of what its values are above that, and of the
 * squares. */
typedef struct row_sums {
  double first[VL], sum[VL], square[VL];
} row_sums;

static __attribute__((noinline)) void CK_NAME(sums_of_rows)(const ck_row_tile *t, row_sums *to) {
  vwide first[ROW_PARTS] = {{0}}, sum[ROW_CHAINS][ROW_PARTS] = {{{0}}}, square[ROW_CHAINS][ROW_PARTS] = {{{0}}};
  for (int64_t k = 0; k < t->c; k += VL) {
    const int64_t n = t->c - k < VL ? t->c - k : VL;
    vreal r[VL];
    row_block(t, t->x, t->x_step, t->x_along, k, n, r);
    if (k == 0 && t->op == CK_STANDARD)
      widen(r[0], first);
    CK_UNROLL
    for (int q = 0; q < VL; q++) {
      vwide d[ROW_PARTS];
      if (q >= n)
        break;
      widen(r[q], d);
      CK_UNROLL
      for (int p = 0; p < ROW_PARTS; p++) {
        d[p] -= first[p];
        sum[q % ROW_CHAINS][p] += d[p];
        square[q % ROW_CHAINS][p] += d[p] * d[p];
      }
    }
  }
  chain_sums(sum, to->sum);
  chain_sums(square, to->square);
  memcpy(to->first, first, sizeof(to->first));
}

CK_INLINE void total_rows(const ck_row_tile *t) {
  row_sums sums;
  CK_NAME(sums_of_rows)(t, &sums);
  for (int64_t i = 0; i < t->rows; i++) {
    const double total = t->factor * (t->op == CK_TOTAL ? sums.sum[i] : sums.square[i]);
    *(real_u *)t->y[i] = (REAL)(t->op == CK_TOTAL ? total : __builtin_sqrt(total));
  }
}

/* ---------------------------------------------------------------- mean and deviation, or norm */

/* Of each row: its mean, what that is short of it, and 1 over the deviation; or zeros, and 1 over the norm. */
typedef struct row_moments {
  REAL mean[VL], rest[VL], inverse[VL];
} row_moments;

/* No row's deviation is so small beside the difference of its values from the first that doubles would not hold it. */
CK_INLINE void moments_of(const ck_row_tile *t, const row_sums *sums, row_moments *to) {
  const double count = (double)t->c;
  for (int i = 0; i < VL; i++) {
    const double above = t->op == CK_STANDARD ? sums->sum[i] / count : 0, mean = sums->first[i] + above;
    const double variance = (sums->square[i] - sums->sum[i] * above) / count;
    const double norm = __builtin_sqrt(t->epsilon + t->factor * sums->square[i]);
    to->mean[i] = (REAL)mean;
    to->rest[i] = (REAL)(mean - (double)to->mean[i]);
    to->inverse[i] = (REAL)(1 / (t->op == CK_STANDARD ? __builtin_sqrt((variance < 0 ? 0 : variance) + t->epsilon)
                                 : norm < t->least    ? t->least
                                                      : norm));
  }
}

CK_INLINE void standard_rows(const ck_row_tile *t) {
  row_sums sums;
  row_moments moments;
  CK_NAME(sums_of_rows)(t, &sums);
  moments_of(t, &sums, &moments);
  const vreal mean = v_loadu(moments.mean), rest = v_loadu(moments.rest), inverse = v_loadu(moments.inverse);
  const REAL *scale = t->scale, *bias = t->bias;
  for (int64_t k = 0; k < t->c; k += VL) {
    const int64_t n = t->c - k < VL ? t->c - k : VL;
    vreal r[VL];
    row_block(t, t->x, t->x_step, t->x_along, k, n, r);
    CK_UNROLL
    for (int q = 0; q < VL; q++) {
      if (q >= n)
        break;
      const vreal standard = (r[q] - mean - rest) * inverse; /* before the scale, which may be as far from 1 */
      r[q] = (scale ? standard * scale[k + q] : standard) + (bias ? bias[k + q] : 0);
    }
    store_block(t, k, n, r);
  }
}

#endif

/* ---------------------------------------------------------------- softmax */

/* The same as memory has them: with `along`, those of one row each, of which n are there. */
CK_INLINE void read_block(const ck_row_tile *t, const char *const *from, int64_t step, int along, int64_t k, int64_t n,
                          vreal r[VL]) {
  CK_ROLLED
  for (int q = 0; q < VL; q++)
    r[q] = along   ? load_first(from[q < t->rows ? q : t->rows - 1] + k * (int64_t)sizeof(REAL), n)
           : q < n ? load_first(from[0] + (k + q) * step, t->rows)
                   : (vreal){0};
}

CK_INLINE void write_block(const ck_row_tile *t, int64_t k, int64_t n, const vreal r[VL]) {
  const int64_t vectors = t->y_along ? t->rows : n;
  CK_ROLLED
  for (int q = 0; q < vectors; q++)
    store_first(t->y_along ? t->y[q] + k * (int64_t)sizeof(REAL) : t->y[0] + (k + q) * t->y_step, r[q],
                t->y_along ? n : t->rows);
}

/* Of whole vectors of values as they lie, and of what is left. */
CK_INLINE vreal largest_of_rows(const ck_row_tile *t) {
  vreal top[VL] = {{0}}, r[VL] = {{0}};
  int64_t k = 0;
  for (; k + VL <= t->c; k += VL) {
    read_block(t, t->x, t->x_step, t->x_along, k, VL, r);
    CK_ROLLED
    for (int q = 0; q < VL; q++)
      top[q] = k == 0 ? r[q] : v_at_least(top[q], r[q]);
  }
  if (k > 0 && t->x_along)
    transpose(top);
  if (k < t->c)
    row_block(t, t->x, t->x_step, t->x_along, k, t->c - k, r);
  vreal largest = k > 0 ? top[0] : r[0];
  for (int q = 1; q < VL && k > 0; q++)
    largest = v_at_least(largest, top[q]);
  CK_ROLLED
  for (int q = 0; q < t->c - k; q++)
    largest = v_at_least(largest, r[q]);
  return largest;
}

/* The difference of two equal scores is 0, be they infinite. `most`: the largest x, `sums`: of exp(x - largest).
 * Softmax and cross-entropy share one copy: two were half of this file's code. No vector is an argument of it: GCC 12
 * would leave the upper halves of registers in use, for which the C library's logarithm waits (4096 rows of 10 took
 * three times as long on a Zen 3). */
static __attribute__((noinline)) void CK_NAME(softmax_rows)(const ck_row_tile *t, REAL most[VL], double sums[VL]) {
  const vreal largest = largest_of_rows(t);
  v_storeu(most, largest);
  const int as_it_lies = t->y[0] && t->y_along == t->x_along;
  vwide sum[ROW_CHAINS][ROW_PARTS] = {{{0}}};
  for (int64_t k = 0; k < t->c; k += VL) {
    const int64_t n = t->c - k < VL ? t->c - k : VL;
    vreal r[VL];
    read_block(t, t->x, t->x_step, t->x_along, k, n, r);
    const int64_t vectors = t->x_along ? t->rows : n;
    CK_ROLLED
    for (int q = 0; q < vectors; q++) {
      const vreal top = t->x_along ? v_set1(most[q]) : largest;
      r[q] = v_exp(v_select(r[q] == top, (vreal){0}, r[q] - top));
    }
    if (as_it_lies)
      write_block(t, k, n, r);
    if (t->x_along)
      transpose(r);
    CK_UNROLL
    for (int q = 0; q < VL; q++) {
      vwide e[ROW_PARTS];
      if (q >= n)
        break;
      widen(r[q], e);
      CK_UNROLL
      for (int p = 0; p < ROW_PARTS; p++)
        sum[q % ROW_CHAINS][p] += e[p];
    }
    if (t->y[0] && !as_it_lies)
      store_block(t, k, n, r);
  }
  REAL whole[VL];
  chain_sums(sum, sums);
  if (!t->y[0])
    return;
  for (int i = 0; i < VL; i++)
    whole[i] = (REAL)sums[i];
  for (int64_t k = 0; k < t->c; k += VL) {
    const int64_t n = t->c - k < VL ? t->c - k : VL;
    vreal r[VL];
    read_block(t, (const char *const *)t->y, t->y_step, t->y_along, k, n, r);
    const int64_t vectors = t->y_along ? t->rows : n;
    CK_ROLLED
    for (int q = 0; q < vectors; q++)
      r[q] /= t->y_along ? v_set1(whole[q]) : v_loadu(whole);
    write_block(t, k, n, r);
  }
}

CK_INLINE void cross_entropy_rows(const ck_row_tile *t) {
  const int64_t size = sizeof(REAL);
  REAL largest[VL];
  double sums[VL];
  CK_NAME(softmax_rows)(t, largest, sums);
  for (int64_t i = 0; i < t->rows; i++) {
    const int64_t label = t->labels[i];
    const char *x = t->x_along ? t->x[i] + label * size : t->x[0] + label * t->x_step + i * size;
    const double score = (double)*(const real_u *)x, most = (double)largest[i];
    ((REAL *)t->losses)[i] = (REAL)(__builtin_log(sums[i]) - (score == most ? 0 : score - most));
    if (t->y[0])
      *(real_u *)(t->y_along ? t->y[i] + label * size : t->y[0] + label * t->y_step + i * size) -= 1;
  }
}

/* ---------------------------------------------------------------- response to neighbours */

/* Value k of the rows. */
CK_INLINE vreal row_value(const ck_row_tile *t, int64_t k) {
  if (!t->x_along)
    return load_first(t->x[0] + k * t->x_step, t->rows);
  vreal v = {0};
  CK_ROLLED
  for (int q = 0; q < t->rows; q++)
    v[q] = *(const real_u *)(t->x[q] + k * (int64_t)sizeof(REAL));
  return v;
}

CK_INLINE vreal response(const ck_row_tile *t, int64_t k) {
  const int64_t first = k < t->before ? 0 : k - t->before, last = k + t->after < t->c ? k + t->after : t->c - 1;
  vreal squares = {0};
  for (int64_t i = first; i <= last; i++) {
    const vreal v = row_value(t, i);
    squares += v * v;
  }
  const vreal base = squares * (REAL)t->factor + (REAL)t->epsilon, root = t->quarters < 4 ? square_root(base) : base;
  const vreal fourth = t->quarters % 2 ? square_root(root) : root;
  return row_value(t, k) / (t->quarters == 3 ? root * fourth : fourth);
}

CK_INLINE void response_rows(const ck_row_tile *t) {
  for (int64_t k = 0; k < t->c; k += VL) {
    const int64_t n = t->c - k < VL ? t->c - k : VL;
    vreal r[VL] = {{0}};
    for (int64_t q = 0; q < n; q++)
      r[q] = response(t, k + q);
    store_block(t, k, n, r);
  }
}

static void CK_NAME(row_tile)(const ck_row_tile *t) {
  REAL largest[VL];
  double sums[VL];
  if (t->op == CK_SOFTMAX)
    CK_NAME(softmax_rows)(t, largest, sums);
  else if (t->op == CK_CROSS_ENTROPY)
    cross_entropy_rows(t);
#if REAL_IS_FLOAT
  else if (t->op == CK_STANDARD || t->op == CK_BY_NORM)
    standard_rows(t);
  else if (t->op == CK_TOTAL || t->op == CK_ROOT)
    total_rows(t);
#endif
  else
    response_rows(t);
}

#endif
