/* Columns added up, each vector of sums in a register. */
#ifndef CK_COL2IM_KERNELS_H
#define CK_COL2IM_KERNELS_H

#include "math.h"

/* Its elements from..from+VL-1, of which those outside first..end-1 are 0. */
CK_INLINE vreal part_of(const char *column, int64_t from, int64_t first, int64_t end) {
  if (first <= from && end >= from + VL)
    return v_loadu(column + from * (int64_t)sizeof(REAL));
  const vmask some = lanes_below(end - from) & ~lanes_below(first - from);
  return (vreal)((vmask)v_loadu(column + from * (int64_t)sizeof(REAL)) & some);
}

static void CK_NAME(col2im)(const ck_column_rows *p) {
  for (int64_t c = 0; c < p->lanes; c++) {
    const char *from = p->from + c * p->from_lane;
    REAL *to = (REAL *)p->to + c * p->to_lane;
    for (int64_t j = 0; j < p->count; j += VL) {
      vreal sum = p->go_on ? v_loadu(to + j) : (vreal){0};
      for (int64_t r = 0; r < p->rows; r++) {
        const char *row = from + p->row[r];
        for (const ck_column_tap *t = p->tap; t < p->tap + p->taps; t++)
          if (t->first < j + VL && t->end > j)
            sum += part_of(row + t->at, j, t->first, t->end);
      }
      v_storeu(to + j, sum);
    }
  }
}

#endif
