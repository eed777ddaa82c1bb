/* One line of outputs of a depthwise correlation whose channels are neighbours in memory: see ck_line.
 *
 * Lanes are channels. A weight vector that has been loaded serves several columns. Vector follows vector before the
 * next columns do, so that memory is read and written in order: with columns innermost, 1.25 times the time. Columns
 * whose taps are not all inside the source go by themselves, with those that are. */
#ifndef CK_LINE_KERNELS_H
#define CK_LINE_KERNELS_H

#include "activation.h"

#if REGISTERS == 32
enum { LINE_COLUMNS = 8 };
#define FOR_EACH_WIDTH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#else
enum { LINE_COLUMNS = 6 };
#define FOR_EACH_WIDTH(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
enum { LINE_VECTORS = 2 };

/* Columns from `column` on, of taps first..end-1 of each tap row, and of channels from vector `beside` on. */
CK_INLINE void line_tile(const ck_line *p, int64_t beside, int64_t column, int64_t first, int64_t end, int width,
                         int vectors) {
  vreal acc[LINE_COLUMNS * LINE_VECTORS];
  CK_UNROLL
  for (int i = 0; i < width * vectors; i++)
    acc[i] = (vreal){0};
  const int64_t step = p->step, apart = p->panel_apart, to_step = p->to_step;
  for (int64_t r = 0; r < p->rows; r++) {
    const char *row = p->from[r] + column * step + beside * VBYTES;
    const REAL *w = (const REAL *)p->panel + beside * apart + (p->tap[r] + first) * VL;
    for (int64_t t = first; t < end; t++, w += VL) {
      const char *at = row + p->offset[t];
      CK_UNROLL
      for (int v = 0; v < vectors; v++) {
        const vreal weight = v_load(w + v * apart);
        CK_UNROLL
        for (int i = 0; i < width; i++)
          acc[i * vectors + v] += weight * v_loadu(at + i * step + v * VBYTES);
      }
    }
  }
  const vreal low = v_set1((REAL)p->bounds.low), high = v_set1((REAL)p->bounds.high);
  const REAL *bias = (const REAL *)p->bias + beside * VL;
  char *to = p->to + column * to_step + beside * VBYTES;
  CK_UNROLL
  for (int v = 0; v < vectors; v++) {
    const vreal add = v_load(bias + v * VL);
    CK_UNROLL
    for (int i = 0; i < width; i++)
      v_storeu(to + i * to_step + v * VBYTES, v_at_most(high, v_at_least(low, acc[i * vectors + v] + add)));
  }
}

CK_INLINE void line_tiles(const ck_line *p, int64_t column, int64_t first, int64_t end, int width) {
  int64_t v = 0;
  for (; width == 1 && v + LINE_COLUMNS <= p->vectors; v += LINE_COLUMNS) /* chains enough */
    line_tile(p, v, column, first, end, 1, LINE_COLUMNS);
  for (; v + LINE_VECTORS <= p->vectors; v += LINE_VECTORS)
    line_tile(p, v, column, first, end, width, LINE_VECTORS);
  if (v < p->vectors)
    line_tile(p, v, column, first, end, width, 1);
}

#define LINE(width)                                                                                                    \
  static void CK_NAME(line_##width)(const ck_line *p, int64_t column, int64_t first, int64_t end) {                    \
    line_tiles(p, column, first, end, width);                                                                          \
  }
#define LINE_ENTRY(width) [width] = CK_NAME(line_##width),
FOR_EACH_WIDTH(LINE)

typedef void (*line_fn)(const ck_line *, int64_t, int64_t, int64_t);
static const line_fn CK_NAME(line_of)[LINE_COLUMNS + 1] = {FOR_EACH_WIDTH(LINE_ENTRY)};

static void CK_NAME(line)(const ck_line *p) {
  const int64_t (*taken)[2] = p->taken;
  int64_t column = 0;
  for (; column < p->columns && column < p->inner; column++, taken++)
    CK_NAME(line_1)(p, column, (*taken)[0], (*taken)[1]);
  for (int64_t width; column < p->inner_end; column += width) { /* tiles of balanced width */
    const int64_t left = p->inner_end - column, tiles = (left + LINE_COLUMNS - 1) / LINE_COLUMNS;
    width = (left + tiles - 1) / tiles;
    CK_NAME(line_of)[width](p, column, 0, p->taps);
  }
  for (; column < p->columns; column++, taken++)
    CK_NAME(line_1)(p, column, (*taken)[0], (*taken)[1]);
}

#endif
