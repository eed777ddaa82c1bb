/* Columns added up, each vector of sums in a register, and finished there where rows are not interleaved. */
#ifndef CK_COL2IM_KERNELS_H
#define CK_COL2IM_KERNELS_H

#include "math.h"
#include "transpose.h"

/* Of lane c: what drain_rows makes of a row of sums. */
CK_INLINE void finish_sums(const ck_column_rows *p, int64_t c, int64_t j, vreal v) {
  const ck_finish *f = p->finish;
  const int64_t n = p->count - j;
  char *dst = f->dst + c * f->row + j * (int64_t)sizeof(REAL);
  v += v_set1(f->bias ? ((const REAL *)f->bias)[c] : 0);
  if (f->add)
    v = load_first(dst, n) + v;
  store_first(dst, v_within(v_set1((REAL)f->bounds.low), v_set1((REAL)f->bounds.high), v), n);
}

/* A few lanes from c on, together: which elements of a tap's column are added is found once for all of them. */
CK_INLINE void sum_columns(const ck_column_rows *p, int64_t c, const int lanes) {
  const char *from = p->from + c * p->from_lane;
  REAL *to = (REAL *)p->to + c * p->to_lane;
  for (int64_t j = 0; j < p->count; j += VL) {
    vreal sum[4];
    CK_UNROLL
    for (int q = 0; q < lanes; q++)
      sum[q] = p->go_on ? v_loadu(to + q * p->to_lane + j) : (vreal){0};
    for (int64_t r = 0; r < p->rows; r++) {
      const char *row = from + p->row[r];
      for (const ck_column_tap *t = p->tap; t < p->tap + p->taps; t++) {
        const char *column = row + t->at + j * (int64_t)sizeof(REAL);
        if (t->first <= j && t->end >= j + VL) {
          CK_UNROLL
          for (int q = 0; q < lanes; q++)
            sum[q] += v_loadu(column + q * p->from_lane);
        } else if (t->first < j + VL && t->end > j) {
          const vmask some = lanes_below(t->end - j) & ~lanes_below(t->first - j);
          CK_UNROLL
          for (int q = 0; q < lanes; q++)
            sum[q] += (vreal)((vmask)v_loadu(column + q * p->from_lane) & some);
        }
      }
    }
    CK_UNROLL
    for (int q = 0; q < lanes; q++) {
      if (p->finish)
        finish_sums(p, c + q, j, sum[q]);
      else
        v_storeu(to + q * p->to_lane + j, sum[q]);
    }
  }
}

static void CK_NAME(col2im)(const ck_column_rows *p) {
  int64_t c = 0;
  for (; c + 4 <= p->lanes; c += 4)
    sum_columns(p, c, 4);
  if (p->lanes & 2)
    sum_columns(p, c, 2);
  if (p->lanes & 1)
    sum_columns(p, p->lanes - 1, 1);
}

#endif
