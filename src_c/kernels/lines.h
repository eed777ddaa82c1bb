/* One line of outputs of a depthwise correlation whose channels are neighbours in memory: see ck_line.
 *
 * Lanes are channels. Loads bound it. Where a tap is as far from the next one as a column, a vector that has been
 * loaded serves all the columns that take it for one of SHARED_TAPS taps: three taps of twelve columns are 17 loads for
 * 36 products, and 0.7 to 0.9 of the time of 39 loads. Elsewhere a weight vector that has been loaded serves several
 * columns. Vector follows vector before the next columns do, so that memory is read and written in order: with columns
 * innermost, 1.25 times the time. Columns whose taps are not all inside the source go by themselves, with those that
 * are. */
#ifndef CK_LINE_KERNELS_H
#define CK_LINE_KERNELS_H

#include "ahead.h"
#include "math.h"
#include "transpose.h"

/* Columns of a tile, and of one whose taps share nothing; taps that share what is loaded. */
enum { LINE_COLUMNS = SMALL ? 6 : 12, APART_COLUMNS = 6, SHARED_TAPS = 3 };
#if SMALL
#define FOR_EACH_WIDTH(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define FOR_EACH_WIDTH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#endif

/* Adds the products of `taps` taps to columns as far apart as they are, or of one tap. */
CK_INLINE void line_taps(vreal *acc, const char *at, int64_t apart, const REAL *w, int64_t panel_apart, int width,
                         int vectors, int taps) {
  vreal weight[SHARED_TAPS * APART_COLUMNS];
  CK_UNROLL
  for (int i = 0; i < taps * vectors; i++)
    weight[i] = v_load(w + i / vectors * VL + i % vectors * panel_apart);
  CK_UNROLL
  for (int from = 0; from < width + taps - 1; from++, at += apart)
    CK_UNROLL
  for (int v = 0; v < vectors; v++) {
    const vreal x = v_loadu(at + v * VBYTES);
    CK_UNROLL
    for (int t = 0; t < taps; t++)
      if (from >= t && from - t < width)
        acc[(from - t) * vectors + v] += weight[t * vectors + v] * x;
  }
}

/* Columns from `column` on, of taps first..end-1 of each tap row, and of channels from vector `beside` on. */
CK_INLINE void line_tile(const ck_line *p, int64_t beside, int64_t column, int64_t first, int64_t end, int width,
                         int vectors, int shared) {
  vreal acc[2 * APART_COLUMNS];
  CK_UNROLL
  for (int i = 0; i < width * vectors; i++)
    acc[i] = (vreal){0};
  /* Where taps go against the columns, they are met in their order from the last column to the first. */
  const int against = shared && p->step != p->apart;
  const int64_t begin = against ? column + width - 1 : column, step = against ? -p->step : p->step;
  const int64_t apart = p->apart, panel_apart = p->panel_apart;
  for (int64_t r = 0; r < p->rows; r++) {
    const char *at = p->from[r] + begin * p->step + first * apart + beside * VBYTES;
    const REAL *w = (const REAL *)p->panel + beside * panel_apart + (p->tap[r] + first) * VL;
    int64_t left = end - first;
    for (; shared && left >= SHARED_TAPS; left -= SHARED_TAPS, at += SHARED_TAPS * apart, w += SHARED_TAPS * VL)
      line_taps(acc, at, apart, w, panel_apart, width, vectors, SHARED_TAPS);
    for (; left > 0; left--, at += apart, w += VL)
      line_taps(acc, at, step, w, panel_apart, width, vectors, 1);
  }
  const vreal low = v_set1((REAL)p->bounds.low), high = v_set1((REAL)p->bounds.high);
  const REAL *bias = (const REAL *)p->bias + beside * VL;
  const int64_t to_step = against ? -p->to_step : p->to_step;
  char *to = p->to + begin * p->to_step + beside * VBYTES;
  CK_UNROLL
  for (int v = 0; v < vectors; v++) {
    const vreal add = v_load(bias + v * VL);
    CK_UNROLL
    for (int i = 0; i < width; i++)
      v_storeu(to + i * to_step + v * VBYTES, v_within(low, high, acc[i * vectors + v] + add));
  }
  if (p->ahead) {
    CK_NAME(fetch_ahead)(p->ahead, width * vectors);
    CK_NAME(fetch_ahead)(p->ahead + 1, width * vectors);
  }
}

/* One vector of channels alone. */
typedef void (*line_alone_fn)(const ck_line *p, int64_t beside, int64_t column, int64_t first, int64_t end);
#define LINE_ALONE(width)                                                                                              \
  static __attribute__((noinline)) void CK_NAME(line_alone_##width)(const ck_line *p, int64_t beside, int64_t column,  \
                                                                    int64_t first, int64_t end) {                      \
    line_tile(p, beside, column, first, end, width, 1, p->shared);                                                     \
  }
FOR_EACH_WIDTH(LINE_ALONE)

/* In groups of vectors that are chains enough, and the rest alone. */
CK_INLINE void line_tiles(const ck_line *p, int64_t column, int64_t first, int64_t end, int width, int vectors,
                          int shared, line_alone_fn alone) {
  int64_t v = 0;
  for (; vectors > 1 && v + vectors <= p->vectors; v += vectors)
    line_tile(p, v, column, first, end, width, vectors, shared);
  for (; v < p->vectors; v++)
    alone(p, v, column, first, end);
}

#define LINE(width)                                                                                                    \
  static void CK_NAME(line_##width)(const ck_line *p, int64_t column) {                                                \
    if (p->shared || (width) > APART_COLUMNS)                                                                          \
      line_tiles(p, column, 0, p->taps, width, (width) < 5 ? 2 : 1, 1, CK_NAME(line_alone_##width));                   \
    else                                                                                                               \
      line_tiles(p, column, 0, p->taps, width, 2, 0, CK_NAME(line_alone_##width));                                     \
  }
#define LINE_ENTRY(width) [width] = CK_NAME(line_##width),
FOR_EACH_WIDTH(LINE)

/* A column by itself, of taps first..end-1. */
static __attribute__((noinline)) void CK_NAME(line_column)(const ck_line *p, int64_t column, int64_t first,
                                                           int64_t end) {
  line_tiles(p, column, first, end, 1, APART_COLUMNS, 0, CK_NAME(line_alone_1));
}

/* The same of some lanes of one vector. */
static __attribute__((noinline)) void CK_NAME(line_part)(const ck_line *p, int64_t column, int64_t first, int64_t end) {
  vreal acc = {0};
  for (int64_t r = 0; r < p->rows; r++) {
    const char *at = p->from[r] + column * p->step + first * p->apart;
    const REAL *w = (const REAL *)p->panel + (p->tap[r] + first) * VL;
    for (int64_t t = first; t < end; t++, at += p->apart, w += VL)
      acc += v_load(w) * load_part(at, p->part);
  }
  acc = v_within(v_set1((REAL)p->bounds.low), v_set1((REAL)p->bounds.high), acc + v_load(p->bias));
  store_part(p->to + column * p->to_step, acc, p->part);
}

/* Columns that have not all taps, of which p->taken says those that they have. */
static void CK_NAME(line_parts)(const ck_line *p) {
  const int64_t (*taken)[2] = p->taken;
  for (int64_t column = 0; column < p->columns; column++)
    if (column < p->inner || column >= p->inner_end) {
      CK_NAME(line_part)(p, column, (*taken)[0], (*taken)[1]);
      taken++;
    }
}

static void CK_NAME(line)(const ck_line *p) {
  if (p->part) {
    CK_NAME(line_parts)(p);
    return;
  }
  static void (*const of_width[LINE_COLUMNS + 1])(const ck_line *, int64_t) = {FOR_EACH_WIDTH(LINE_ENTRY)};
  const int64_t (*taken)[2] = p->taken, most = p->shared ? LINE_COLUMNS : APART_COLUMNS;
  int64_t column = 0;
  for (; column < p->columns && column < p->inner; column++, taken++)
    CK_NAME(line_column)(p, column, (*taken)[0], (*taken)[1]);
  for (int64_t width; column < p->inner_end; column += width) { /* tiles of balanced width */
    const int64_t left = p->inner_end - column, tiles = (left + most - 1) / most;
    width = (left + tiles - 1) / tiles;
    of_width[width](p, column);
  }
  for (; column < p->columns; column++, taken++)
    CK_NAME(line_column)(p, column, (*taken)[0], (*taken)[1]);
}

#endif
