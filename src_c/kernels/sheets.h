/* One plane of a depthwise correlation with a kernel of 3x3, straight from memory to memory: see ck_sheet.
 *
 * A vector of columns walks down the rows. All nine weights are in registers, and so are the sums of the two or three
 * outputs that a row takes part in: each row is read once. Vectors at the sides, which reach beyond the plane, read
 * what lies there, and mask it. */
#ifndef CK_SHEETS_H
#define CK_SHEETS_H

#include "math.h"
#include "transpose.h"

/* How a walk reads: bits of the tap columns that it masks, all of them; and nothing that is not the tensor's. */
enum { SHEET_ALL = 7, SHEET_GUARDED = 8 };

/* Elements `step`, 1 or 2, apart. */
CK_INLINE vreal sheet_read(const char *src, int step) { return step == 1 ? v_loadu(src) : every(src, 2); }

/* Those in memory that is the tensor's. */
static __attribute__((noinline)) vreal CK_NAME(sheet_guarded)(const ck_sheet *p, const char *src, int step) {
  const int64_t size = sizeof(REAL);
  vreal v = {0};
  if (src >= p->memory && src + ((VL - 1) * step + 1) * size <= p->memory_end)
    return sheet_read(src, step);
  for (int j = 0; j < VL; j++) {
    const char *at = src + j * step * size;
    if (at >= p->memory && at + size <= p->memory_end)
      v[j] = *(const real_u *)at;
  }
  return v;
}

/* One vector of columns on its way down: where it is, which row that is, counted from the first that is not padding,
 * and where and how many outputs are to come. */
typedef struct sheet_walk {
  const char *s, *mask, *ahead, *ahead_to;
  char *to;
  int64_t row, rows, left, columns;
  vreal bias, low, high;
} sheet_walk;

/* What the three tap columns read in a row. The plane to come is fetched line after line: the rows of this one that are
 * to come are too many streams. */
CK_INLINE void sheet_row(const ck_sheet *p, sheet_walk *k, int step, int how, vreal v[3]) {
  __builtin_prefetch(k->ahead, 0, 2);
  if (step * VBYTES > 64)
    __builtin_prefetch(k->ahead + 64, 0, 2);
  k->ahead += step * VBYTES;
  CK_UNROLL
  for (int t = 0; t < 3; t++) {
    const char *src = k->s + p->column[t];
    v[t] = how & SHEET_GUARDED ? CK_NAME(sheet_guarded)(p, src, step) : sheet_read(src, step);
    if (how & 1 << t)
      v[t] = (vreal)((vmask)v[t] & (vmask)v_load(k->mask + t * VBYTES));
  }
}

/* Goes on to the next row; whether this one is there. */
CK_INLINE int sheet_next(const ck_sheet *p, sheet_walk *k, int step, int how, vreal v[3]) {
  const int there = (uint64_t)k->row < (uint64_t)k->rows;
  if (there)
    sheet_row(p, k, step, how, v);
  k->row++;
  k->s += p->s_row;
  return there;
}

CK_INLINE vreal sheet_taps(const vreal w[3], const vreal v[3], vreal sum) {
  sum += w[0] * v[0];
  sum += w[1] * v[1];
  sum += w[2] * v[2];
  return sum;
}

/* Stores an output; whether it was the last. What a short row's vector has too many the next rows store over. */
CK_INLINE int sheet_end(const ck_sheet *p, sheet_walk *k, vreal sum) {
  const vreal v = v_within(k->low, k->high, sum + k->bias);
  if (k->columns < VL && k->left < p->alone)
    store_part(k->to, v, k->columns);
  else
    v_storeu(k->to, v);
  __builtin_prefetch(k->ahead_to, 1, 2);
  k->ahead_to += VBYTES;
  k->to += p->to_row;
  return --k->left == 0;
}

/* A row ends one output, goes on with the next and begins the one after. */
CK_INLINE int sheet_step(const ck_sheet *p, sheet_walk *k, const vreal w[9], int how, vreal *ends, vreal *goes,
                         vreal *begins) {
  vreal v[3];
  *begins = (vreal){0};
  if (sheet_next(p, k, 1, how, v)) {
    *ends = sheet_taps(w + 6, v, *ends);
    *goes = sheet_taps(w + 3, v, *goes);
    *begins = sheet_taps(w, v, *begins);
  }
  return sheet_end(p, k, *ends);
}

CK_INLINE void sheet_down(const ck_sheet *p, sheet_walk *k, const vreal w[9], int how) {
  vreal v[3], a = {0}, b = {0}, c = {0};
  if (sheet_next(p, k, 1, how, v))
    a = sheet_taps(w, v, a);
  if (sheet_next(p, k, 1, how, v)) {
    a = sheet_taps(w + 3, v, a);
    b = sheet_taps(w, v, b);
  }
  while (!sheet_step(p, k, w, how, &a, &b, &c) && !sheet_step(p, k, w, how, &b, &c, &a) &&
         !sheet_step(p, k, w, how, &c, &a, &b))
    ;
}

/* Two rows an output, of which the first ends the one before, too. */
CK_INLINE void sheet_down_twice(const ck_sheet *p, sheet_walk *k, const vreal w[9], int how) {
  vreal v[3], sum = {0};
  if (sheet_next(p, k, 2, how, v))
    sum = sheet_taps(w, v, sum);
  for (;;) {
    vreal begins = {0};
    if (sheet_next(p, k, 2, how, v))
      sum = sheet_taps(w + 3, v, sum);
    if (sheet_next(p, k, 2, how, v)) {
      sum = sheet_taps(w + 6, v, sum);
      begins = sheet_taps(w, v, begins);
    }
    if (sheet_end(p, k, sum))
      return;
    sum = begins;
  }
}

CK_INLINE void sheet_walk_down(const ck_sheet *p, sheet_walk k, const vreal w[9], int64_t x, int step, int how) {
  k.s = p->s + x * step;
  k.to = p->to + x;
  if (step == 1)
    sheet_down(p, &k, w, how);
  else
    sheet_down_twice(p, &k, w, how);
}

/* The last vector of a row moves back, so that it is whole. */
CK_INLINE void sheet_walks(const ck_sheet *sheet, int step) {
  const ck_sheet here = *sheet, *p = &here;
  const int64_t size = sizeof(REAL), vectors = (p->columns + VL - 1) / VL, last = p->columns < VL ? 0 : p->columns - VL;
  sheet_walk k = {.mask = p->mask,
                  .row = -p->first,
                  .rows = p->end - p->first,
                  .left = p->rows,
                  .columns = p->columns,
                  .ahead = p->ahead,
                  .ahead_to = p->ahead_to,
                  .bias = v_set1(p->bias ? *(const real_u *)p->bias : 0),
                  .low = v_set1((REAL)p->bounds.low),
                  .high = v_set1((REAL)p->bounds.high)};
  vreal w[9];
  CK_UNROLL
  for (int i = 0; i < 9; i++)
    w[i] = v_set1(((const real_u *)p->weights)[i]);
  for (int64_t j = 0; j < vectors; j++) {
    const int64_t x = (j * VL < last ? j * VL : last) * size;
    const int left = j < p->left, side = left || j >= vectors - p->right, taps = left ? p->left_taps : p->right_taps;
    if (!side)
      sheet_walk_down(p, k, w, x, step, 0);
    else if (p->guarded)
      sheet_walk_down(p, k, w, x, step, SHEET_ALL | SHEET_GUARDED);
    else if (taps == 1)
      sheet_walk_down(p, k, w, x, step, 1);
    else if (taps == 4)
      sheet_walk_down(p, k, w, x, step, 4);
    else
      sheet_walk_down(p, k, w, x, step, SHEET_ALL);
    k.mask += side ? 3 * VBYTES : 0;
    k.ahead += k.rows * step * VBYTES;
    k.ahead_to += k.left * VBYTES;
  }
}

static void CK_NAME(sheet_1)(const ck_sheet *p) { sheet_walks(p, 1); }
static void CK_NAME(sheet_2)(const ck_sheet *p) { sheet_walks(p, 2); }

/* A column some of whose taps are padding, of which a weight that is not finite makes NaN: without them. */
static void CK_NAME(sheet_column)(const ck_sheet *p, int64_t x) {
  const int64_t at_x = x * p->step * (int64_t)sizeof(REAL);
  for (int64_t r = 0; r < p->rows; r++) {
    REAL sum = 0;
    for (int t = 0; t < 9; t++) {
      const int64_t q = r * p->step + t / 3, column = at_x + p->column[t % 3];
      if (q >= p->first && q < p->end && column >= 0 && column < p->width)
        sum += ((const real_u *)p->weights)[t] * *(const real_u *)(p->s + q * p->s_row + column);
    }
    sum += p->bias ? *(const real_u *)p->bias : 0;
    const vreal v = v_within(v_set1((REAL)p->bounds.low), v_set1((REAL)p->bounds.high), v_set1(sum));
    *(real_u *)(p->to + r * p->to_row + x * (int64_t)sizeof(REAL)) = v[0];
  }
}

static void CK_NAME(sheet)(const ck_sheet *p) {
  if (p->step == 1)
    CK_NAME(sheet_1)(p);
  else
    CK_NAME(sheet_2)(p);
  if (p->left + p->right == 0)
    return;
  REAL note = 0;
  for (int t = 0; t < 9; t++)
    note += ((const real_u *)p->weights)[t] * 0;
  for (int64_t x = 0; x < p->columns && note != 0; x++) {
    if (x < p->inner || x >= p->inner_end)
      CK_NAME(sheet_column)(p, x);
  }
}

#endif
