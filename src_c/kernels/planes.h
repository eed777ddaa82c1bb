/* One plane of a depthwise convolution and its like, with pixels on the lanes: see ck_plane.
 *
 * Tap rows follow each other in the source as output rows do. So an input row, loaded once for each tap column, is
 * multiplied into every output row that it reaches, and each sum is still one chain in the order of the taps. Kernels
 * of few tap rows stream: a column of vectors walks down the plane, and the sums that are under way stay in registers,
 * one row of them for each tap row. Where registers do not hold so many, outputs are cut into tiles. */
#ifndef CK_PLANES_H
#define CK_PLANES_H

#include "activation.h"
#include "stage.h"

enum { STREAM_TAPS = 7, TILE_ROWS = 6, MOST_VECTORS = 6 };

/* Vectors side by side with this many sums in each: every one is loaded for a tap, beside a weight. More than 4 matter
 * to a single sum alone, whose chains are too few. */
#define BESIDE(rows, most) ((REGISTERS - 1) / ((rows) + 1) < (most) ? (REGISTERS - 1) / ((rows) + 1) : (most))
#define VECTORS_BESIDE(rows) BESIDE(rows, (rows) == 1 ? MOST_VECTORS : 4)

typedef struct strip {
  vreal bias, least, most;
  const ck_plane *p;
  const REAL *s, *chain, *mask;
  char *to;
  int64_t lo, hi; /* tap rows that are there, counted from the first of the first row on */
  int64_t last;   /* where the last of several vectors begins */
} strip;

/* Where vector j of a row of them lies: the last may overlap the one before. */
CK_INLINE int64_t vector_at(int j, int vectors, int64_t last) { return j == 0 ? 0 : j == vectors - 1 ? last : j * VL; }

CK_INLINE void start_row(vreal *sum, int vectors, const REAL *chain, int64_t last) {
  CK_UNROLL
  for (int j = 0; j < vectors; j++)
    sum[j] = chain ? v_loadu(chain + vector_at(j, vectors, last)) : (vreal){0};
}

/* The first n < VL elements of v, by two pieces that overlap. */
CK_INLINE void put_part(char *to, vreal v, int64_t n) {
  char part[VBYTES] __attribute__((aligned(VBYTES)));
  const int64_t bytes = n * (int64_t)sizeof(REAL);
  v_store(part, v);
#define PIECES(size)                                                                                                   \
  if (VBYTES > (size) && bytes >= (size)) {                                                                            \
    __builtin_memcpy(to, part, size);                                                                                  \
    __builtin_memcpy(to + bytes - (size), part + bytes - (size), size);                                                \
    return;                                                                                                            \
  }
  PIECES(32)
  PIECES(16)
  PIECES(8)
#undef PIECES
  *(real_u *)to = v[0];
}

/* A row of fewer columns than a vector has is one vector, stored in part. */
CK_INLINE void put_row(const strip *t, const vreal *sum, int vectors, int64_t last, char *to, int64_t columns) {
  CK_UNROLL
  for (int j = 0; j < vectors; j++) {
    vreal v = sum[j] + t->bias;
    v = v_select(v < t->least, t->least, v);
    v = v_select(v > t->most, t->most, v);
    if (vectors == 1 && columns < VL)
      put_part(to, v, columns);
    else
      v_storeu((REAL *)to + vector_at(j, vectors, last), v);
  }
}

/* ---------------------------------------------------------------- streams */

/* One tap of each tap row phase, phase + step, ... of `taps`: sum[j] are those of the output row that began j rows ago,
 * and w(i) is at w[taps - 1 - i]. */
CK_INLINE void stream_tap(int taps, int step, int phase, int vectors, const REAL *s, const REAL *w, int64_t last,
                          vreal (*sum)[MOST_VECTORS]) {
  vreal v[MOST_VECTORS];
  CK_UNROLL
  for (int j = 0; j < vectors; j++)
    v[j] = v_loadu(s + vector_at(j, vectors, last));
  CK_UNROLL
  for (int i = phase; i < taps; i += step) {
    vreal b = v_set1(w[taps - 1 - i]);
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      sum[i / step][j] += v[j] * b;
  }
}

/* taps: rows of them; step: tap rows from one output row to the next; across: tap columns if 3, else as many as p says.
 */
CK_INLINE void stream(const strip *given, int taps, int step, int vectors, int across) {
  const strip here = *given, *t = &here;
  const ck_plane *p = t->p;
  const int depth = (taps + step - 1) / step;
  const int64_t s_tap = p->s_tap, to_row = p->to_row, chain_row = p->chain_row, rows = p->rows, last = t->last;
  const int64_t columns = p->columns, w_column = p->w_column;
  const int32_t *xo = p->xo, *stop = xo + p->taps_x;
  const int64_t x0 = across ? xo[0] : 0, x1 = across ? xo[1] : 0, x2 = across ? xo[2] : 0;
  const REAL *s = t->s, *chain = t->chain, *weights = p->w;
  char *to = t->to;
  vreal sum[STREAM_TAPS][MOST_VECTORS];
  REAL near[3 * STREAM_TAPS]; /* a copy, which no store into the output can be meant to change */
  CK_UNROLL
  for (int i = 0; i < across * taps; i++)
    near[i] = weights[i];
  CK_UNROLL
  for (int i = 0; i < depth; i++)
    start_row(sum[i], vectors, i == 0 ? chain : NULL, last);
  for (int64_t row = 0; row < rows + depth - 1; row++) {
    CK_UNROLL
    for (int phase = 0; phase < step; phase++, s += s_tap) {
      const int64_t q = row * step + phase;
      const REAL *w = weights;
      if (q < t->lo || q >= t->hi)
        continue;
      if (across) {
        stream_tap(taps, step, phase, vectors, s + x0, near, last, sum);
        stream_tap(taps, step, phase, vectors, s + x1, near + taps, last, sum);
        stream_tap(taps, step, phase, vectors, s + x2, near + 2 * taps, last, sum);
      } else {
        for (const int32_t *x = xo; x < stop; x++, w += w_column)
          stream_tap(taps, step, phase, vectors, s + *x, w, last, sum);
      }
    }
    if (row >= depth - 1) {
      put_row(t, sum[depth - 1], vectors, last, to, columns);
      to += to_row;
    }
    CK_UNROLL
    for (int i = depth - 1; i > 0; i--) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        sum[i][j] = sum[i - 1][j];
    }
    if (chain)
      chain = row + 1 < rows ? chain + chain_row : NULL;
    start_row(sum[0], vectors, chain, last);
  }
}

/* ---------------------------------------------------------------- tiles */

/* One tap row into output rows first..end-1, whose weights follow each other. */
CK_INLINE void tile_taps(const strip *t, int first, int end, int vectors, const REAL *s, const REAL *w, int64_t last,
                         const REAL *mask, vreal (*sum)[MOST_VECTORS]) {
  const int32_t *xo = t->p->xo, *stop = xo + t->p->taps_x;
  const int64_t column = t->p->w_column;
  for (; xo < stop; xo++, w += column) {
    const REAL *at = s + *xo;
    vreal v[MOST_VECTORS];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      v[j] = v_loadu(at + vector_at(j, vectors, last));
    CK_UNROLL
    for (int r = first; r < end; r++) {
      vreal b = v_set1(w[r]);
      CK_UNROLL
      for (int j = 0; j < vectors; j++) {
        vreal more = sum[r][j] + v[j] * b;
        sum[r][j] = mask ? v_select((vmask)v_loadu(mask + *xo + vector_at(j, vectors, last)), more, sum[r][j]) : more;
      }
    }
  }
}

/* Several rows only where each begins one tap row after the other, and there are so many tap rows or one less: until
 * the last row begins, and again after the first has ended, fewer take part. */
CK_INLINE void tile(const strip *given, int rows, int vectors, int masked) {
  const strip here = *given, *t = &here;
  const ck_plane *p = t->p;
  const int64_t s_tap = p->s_tap, taps = p->taps_y, last = t->last, lo = t->lo, hi = t->hi, columns = p->columns;
  const REAL *mask = masked ? t->mask : NULL;
  const REAL *s = t->s, *w = (const REAL *)p->w + taps - 1;
  vreal sum[TILE_ROWS][MOST_VECTORS];
  CK_UNROLL
  for (int r = 0; r < rows; r++)
    start_row(sum[r], vectors, t->chain ? t->chain + r * p->chain_row : NULL, last);
  CK_UNROLL
  for (int q = 0; q < rows - 1; q++, s += s_tap, w--) {
    if (q >= lo && q < hi)
      tile_taps(t, 0, q + 1, vectors, s, w, last, mask, sum);
  }
  for (int64_t q = rows - 1; q < taps; q++, s += s_tap, w--) {
    if (q >= lo && q < hi)
      tile_taps(t, 0, rows, vectors, s, w, last, mask, sum);
  }
  CK_UNROLL
  for (int r = 1; r < rows; r++, s += s_tap, w--) {
    if (taps + r - 1 >= lo && taps + r - 1 < hi)
      tile_taps(t, r, rows, vectors, s, w, last, mask, sum);
  }
  CK_UNROLL
  for (int r = 0; r < rows; r++)
    put_row(t, sum[r], vectors, last, t->to + r * p->to_row, columns);
}

/* ---------------------------------------------------------------- their instances */

#define STREAM(taps, step, vectors)                                                                                    \
  static void CK_NAME(stream_##taps##s##step##x##vectors)(const strip *t) { stream(t, taps, step, vectors, 0); }
#define STREAM_3(taps, step, vectors)                                                                                  \
  static void CK_NAME(stream_##taps##s##step##x##vectors##_3)(const strip *t) { stream(t, taps, step, vectors, 3); }
#define TILE(rows, vectors)                                                                                            \
  static void CK_NAME(tile_##rows##x##vectors)(const strip *t) { tile(t, rows, vectors, 0); }
#define MASKED(rows, vectors)                                                                                          \
  static void CK_NAME(masked_##rows##x##vectors)(const strip *t) { tile(t, rows, vectors, 1); }

/* X(.., vectors) as far as VECTORS_BESIDE goes with so many sums. */
#define UP_TO_1(X, ...) X(__VA_ARGS__, 1)
#define UP_TO_2(X, ...) UP_TO_1(X, __VA_ARGS__) X(__VA_ARGS__, 2)
#define UP_TO_3(X, ...) UP_TO_2(X, __VA_ARGS__) X(__VA_ARGS__, 3)
#define UP_TO_4(X, ...) UP_TO_3(X, __VA_ARGS__) X(__VA_ARGS__, 4)
#define UP_TO_6(X, ...) UP_TO_4(X, __VA_ARGS__) X(__VA_ARGS__, 5) X(__VA_ARGS__, 6)
#define BESIDE_1 UP_TO_6
#if REGISTERS == 32
#define BESIDE_2 UP_TO_4
#define BESIDE_3 UP_TO_4
#define BESIDE_4 UP_TO_4
#define BESIDE_5 UP_TO_4
#define BESIDE_6 UP_TO_4
#define BESIDE_7 UP_TO_3
#else
#define BESIDE_2 UP_TO_4
#define BESIDE_3 UP_TO_3
#define BESIDE_4 UP_TO_3
#define BESIDE_5 UP_TO_2
#define BESIDE_6 UP_TO_2
#define BESIDE_7 UP_TO_1
#endif
#define FOR_EACH_STREAM(X)                                                                                             \
  BESIDE_1(X, 1, 1)                                                                                                    \
  BESIDE_2(X, 2, 1)                                                                                                    \
  BESIDE_3(X, 3, 1)                                                                                                    \
  BESIDE_4(X, 4, 1)                                                                                                    \
  BESIDE_5(X, 5, 1)                                                                                                    \
  BESIDE_6(X, 6, 1) BESIDE_7(X, 7, 1) BESIDE_1(X, 2, 2) BESIDE_2(X, 3, 2) BESIDE_2(X, 4, 2) BESIDE_3(X, 5, 2)          \
      BESIDE_3(X, 6, 2) BESIDE_4(X, 7, 2)
#define FOR_EACH_STREAM_3(X) BESIDE_3(X, 3, 1) BESIDE_2(X, 3, 2)
#define FOR_EACH_MASKED(X) UP_TO_4(X, 1)
#define FOR_EACH_TILE(X) BESIDE_1(X, 1) BESIDE_2(X, 2) BESIDE_3(X, 3) BESIDE_4(X, 4) BESIDE_6(X, 6)
FOR_EACH_STREAM(STREAM)
FOR_EACH_STREAM_3(STREAM_3)
FOR_EACH_TILE(TILE)
FOR_EACH_MASKED(MASKED)

typedef void (*strip_fn)(const strip *);
#define STREAM_ENTRY(taps, step, vectors) [step][taps][vectors] = CK_NAME(stream_##taps##s##step##x##vectors),
#define STREAM_3_ENTRY(taps, step, vectors) [step][vectors] = CK_NAME(stream_##taps##s##step##x##vectors##_3),
#define TILE_ENTRY(rows, vectors) [rows][vectors] = CK_NAME(tile_##rows##x##vectors),
#define MASKED_ENTRY(rows, vectors) [vectors] = CK_NAME(masked_##rows##x##vectors),
static const strip_fn CK_NAME(streams)[3][STREAM_TAPS + 1][MOST_VECTORS + 1] = {FOR_EACH_STREAM(STREAM_ENTRY)};
static const strip_fn CK_NAME(streams_3)[3][MOST_VECTORS + 1] = {FOR_EACH_STREAM_3(STREAM_3_ENTRY)};
static const strip_fn CK_NAME(tiles)[TILE_ROWS + 1][MOST_VECTORS + 1] = {FOR_EACH_TILE(TILE_ENTRY)};
static const strip_fn CK_NAME(masked)[MOST_VECTORS + 1] = {FOR_EACH_MASKED(MASKED_ENTRY)};

/* ---------------------------------------------------------------- planes */

/* Row `row` of the plane and those below, by strips side by side, as wide as registers allow and of equal widths;
 * `most` is the largest width that the table has. */
static void CK_NAME(plane_strips)(const ck_plane *p, strip *t, int64_t row, const strip_fn *table, int64_t most) {
  const int64_t columns = p->columns, size = sizeof(REAL);
  int64_t left = (columns + VL - 1) / VL, strips = (left + most - 1) / most;
  t->lo = p->lo - row * p->shared;
  t->hi = p->hi - row * p->shared;
  for (int64_t x = 0; strips > 0; strips--) {
    int64_t wide = (left + strips - 1) / strips, end = x + wide * VL;
    int64_t at = end > columns && wide == 1 && columns > VL ? columns - VL : x;
    t->last = wide == 1 ? 0 : (end > columns ? columns : end) - VL - at;
    t->s = (const REAL *)p->s + row * p->s_row + at;
    t->mask = p->mask ? (const REAL *)p->mask + at : NULL;
    t->chain = p->chain ? (const REAL *)p->chain + row * p->chain_row + at : NULL;
    t->to = p->to + row * p->to_row + at * size;
    table[wide](t);
    x = end;
    left -= wide;
  }
}

/* Rows of the next tile: as many as share taps, but no single one at the end. */
CK_INLINE int64_t tile_rows(const ck_plane *p, int64_t left) {
  static const int8_t next[] = {0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 4};
  int64_t rows = left < 12 ? next[left] : TILE_ROWS, most = p->shared == 1 ? p->taps_y + 1 : 1;
  return rows <= most ? rows : most == 5 ? 4 : most;
}

static void CK_NAME(plane)(const ck_plane *p) {
  strip t = {.bias = v_set1((REAL)p->bias), .least = v_set1((REAL)p->least), .most = v_set1((REAL)p->most), .p = p};
  const strip_fn *stream = p->shared <= 2 && p->taps_y <= STREAM_TAPS ? CK_NAME(streams)[p->shared][p->taps_y] : NULL;
  if (!p->mask && stream && stream[1]) {
    const int64_t depth = (p->taps_y + p->shared - 1) / p->shared;
    if (p->taps_y == 3 && p->taps_x == 3 && p->w_column == 3)
      stream = CK_NAME(streams_3)[p->shared];
    CK_NAME(plane_strips)(p, &t, 0, stream, VECTORS_BESIDE(depth));
    return;
  }
  for (int64_t row = 0, rows; row < p->rows; row += rows) {
    rows = p->mask ? 1 : tile_rows(p, p->rows - row);
    CK_NAME(plane_strips)(p, &t, row, p->mask ? CK_NAME(masked) : CK_NAME(tiles)[rows],
                          p->mask ? 4 : VECTORS_BESIDE(rows));
  }
}

/* Rows of phases, ld apart, to one row of pixels: pixel x is x / phases of row x % phases. */
static void CK_NAME(join)(char *to, int64_t to_pixel, const void *from, int64_t ld, int64_t phases, int64_t count) {
  const REAL *s = from;
  const int64_t size = sizeof(REAL);
  if (phases == 1 && to_pixel == size) {
    copy_bytes(to, from, count * size);
    return;
  }
  if (phases == 2 && to_pixel == size) {
    int64_t x = 0;
    for (; x + 2 * VL <= count; x += 2 * VL, to += 2 * VBYTES) {
      vreal a = v_loadu(s + x / 2), b = v_loadu(s + ld + x / 2);
      v_storeu(to, SHUFFLE(a, b, INTERLEAVE));
      v_storeu(to + VBYTES, SHUFFLE(a, b, INTERLEAVE_HIGH));
    }
    vreal a = v_loadu(s + x / 2), b = v_loadu(s + ld + x / 2);
    vreal both[4] = {{0}, SHUFFLE(a, b, INTERLEAVE), SHUFFLE(a, b, INTERLEAVE_HIGH), {0}};
    copy_bytes(to, (const char *)&both[1], (count - x) * size);
    return;
  }
  for (int64_t f = 0; f < phases && f < count; f++, s += ld) {
    int64_t each = (count - f - 1) / phases + 1, step = phases * to_pixel;
    char *at = to + f * to_pixel;
    for (int64_t i = 0; i < each; i++, at += step)
      *(real_u *)at = s[i];
  }
}

#endif
