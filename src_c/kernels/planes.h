/* One channel's plane of a correlation with pixels on the lanes: see ck_plane.
 *
 * Output rows that are a tap row apart share what they read: each row of the window, loaded once for each tap column,
 * is multiplied into every output row that it reaches.  Each sum is still one chain in the order of the taps. */
#ifndef CK_PLANES_H
#define CK_PLANES_H

#include "ahead.h"
#include "math.h"
#include "transpose.h"

enum { PLANE_ROWS = 6 };

/* Tiles one below the other, each of neighbouring vectors in several rows. */
typedef struct plane_tiles {
  const ck_plane *p;
  const REAL *s;
  char *to;
  int64_t tiles;
  int64_t last; /* where the last of several vectors begins */
} plane_tiles;

/* The last vector may overlap the one before. */
CK_INLINE int64_t vector_at(int j, int vectors, int64_t last) { return j == 0 ? 0 : j == vectors - 1 ? last : j * VL; }

/* One tap row of the window into output rows first..end-1, of which row r has tap columns w - r * taps. */
CK_INLINE void shared_taps(int first, int end, int vectors, int64_t taps, const REAL *s, int64_t last,
                           const int32_t *xo, const REAL *w, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  for (int64_t x = 0; x < taps; x++, w++) { /* unrolled if taps is a constant: no more is asked, for it may not be */
    const REAL *at = s + xo[x];
    vreal v[CK_MAX_LANE_VECTORS];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      v[j] = v_loadu(at + vector_at(j, vectors, last));
    CK_UNROLL
    for (int r = first; r < end; r++) {
      const REAL b = w[-r * taps];
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[r][j] += b * v[j];
    }
  }
}

/* There are at least as many tap rows as output rows less one: until the last of these begins, and again after the
 * first has ended, fewer take part. */
CK_INLINE void sum_shared(const ck_plane *p, int rows, int vectors, int64_t taps_y, int64_t taps_x, const REAL *s,
                          int64_t last, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const int64_t s_tap = p->s_tap;
  const REAL *first = p->first, *end = p->end, *panel = p->panel, *from = s;
  const int32_t *xo = p->ko;
  for (int64_t i = 0; i < p->planes; i++, xo += taps_y * taps_x, panel += taps_y * taps_x, s = from) {
    const REAL *w = panel;
    CK_UNROLL
    for (int q = 0; q < rows - 1; q++, s += s_tap, w += taps_x) {
      if (s >= first && s < end)
        shared_taps(0, q + 1, vectors, taps_x, s, last, xo, w, acc);
    }
    for (int64_t q = rows - 1; q < taps_y; q++, s += s_tap, w += taps_x) {
      if (s >= first && s < end)
        shared_taps(0, rows, vectors, taps_x, s, last, xo, w, acc);
    }
    CK_UNROLL
    for (int r = 1; r < rows; r++, s += s_tap, w += taps_x) {
      if (s >= first && s < end)
        shared_taps(r, rows, vectors, taps_x, s, last, xo, w, acc);
    }
  }
}

CK_INLINE void sum_apart(const ck_plane *p, int rows, int vectors, const REAL *s, int64_t last,
                         vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const int64_t s_row = p->s_row;
  const int32_t *ko = p->ko, *end = ko + p->planes * p->taps_y * p->taps_x;
  for (const REAL *w = p->panel; ko < end; ko++, w++) {
    const REAL *at = s + *ko, b = *w;
    CK_UNROLL
    for (int r = 0; r < rows; r++) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[r][j] += b * v_loadu(at + r * s_row + vector_at(j, vectors, last));
    }
  }
}

/* With bias and bounds, if it is the user's memory that it goes to. */
CK_INLINE vreal plane_sum(const ck_finish *f, vreal v) {
  if (!f)
    return v;
  v += v_set1(*(const REAL *)f->bias);
  return v_within(v_set1((REAL)f->bounds.low), v_set1((REAL)f->bounds.high), v);
}

/* Rows of fewer columns than a vector has, one vector each. */
static __attribute__((noinline)) void CK_NAME(short_rows)(int rows, const REAL *tile, char *to, int64_t step,
                                                          int64_t columns) {
  for (int r = 0; r < rows; r++, to += step, tile += VL)
    store_part(to, v_loadu(tile), columns);
}

/* In passes, of which each is there once: what may be added would else make a second copy of what follows. */
CK_INLINE void end_plane(const ck_plane *p, int rows, int vectors, char *to, int64_t last,
                         vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const int64_t step = p->to_row;
  if (p->finish) {
    const ck_finish f = *p->finish;
    CK_UNROLL
    for (int r = 0; r < rows; r++) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[r][j] = plane_sum(&f, acc[r][j]);
    }
    if (vectors == 1 && p->columns < VL) {
      REAL tile[PLANE_ROWS * VL];
      CK_UNROLL
      for (int r = 0; r < rows; r++)
        v_storeu(tile + r * VL, acc[r][0]);
      CK_NAME(short_rows)(rows, tile, to, step, p->columns);
      return;
    }
  }
  if (p->add) {
    const char *from = to;
    CK_UNROLL
    for (int r = 0; r < rows; r++, from += step) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[r][j] = v_loadu(from + vector_at(j, vectors, last) * (int64_t)sizeof(REAL)) + acc[r][j];
    }
  }
  CK_UNROLL
  for (int r = 0; r < rows; r++, to += step) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      v_storeu(to + vector_at(j, vectors, last) * (int64_t)sizeof(REAL), acc[r][j]);
  }
}

/* taps: 3 in loops for 3 by 3 alone, else 0; shared: whether rows share what is loaded. */
CK_INLINE void plane_strip(const plane_tiles *t, int rows, int vectors, int shared, int taps) {
  const ck_plane here = *t->p, *p = &here;
  const REAL *s = t->s;
  char *to = t->to;
  for (int64_t i = 0; i < t->tiles; i++, s += rows * p->s_row, to += rows * p->to_row) {
    vreal acc[PLANE_ROWS][CK_MAX_LANE_VECTORS];
    CK_UNROLL
    for (int r = 0; r < rows; r++) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[r][j] = (vreal){0};
    }
    if (shared)
      sum_shared(p, rows, vectors, taps ? taps : p->taps_y, taps ? taps : p->taps_x, s, t->last, acc);
    else
      sum_apart(p, rows, vectors, s, t->last, acc);
    end_plane(p, rows, vectors, to, t->last, acc);
    if (p->ahead) {
      CK_NAME(fetch_ahead)(p->ahead, rows * vectors);
      CK_NAME(fetch_ahead)(p->ahead + 1, rows * vectors);
    }
  }
}

/* Vectors side by side in a tile of so many rows that share (beside each sum, what is loaded and a weight), or don't.
 */
#if REGISTERS == 32
#define SHARED_VECTORS(rows) 4
#elif SMALL
#define SHARED_VECTORS(rows) 2
#else
#define SHARED_VECTORS(rows) ((rows) == 2 ? 4 : (rows) < 6 ? 3 : 2)
#endif
#define APART_VECTORS(rows) ((rows) == 1 ? 6 : (rows) == 2 ? 4 : 3)

#define PLANE(rows, v)                                                                                                 \
  static void CK_NAME(plane_##rows##x##v)(const plane_tiles *t) { plane_strip(t, rows, v, 1, 0); }
#define PLANE_3(rows, v)                                                                                               \
  static void CK_NAME(plane_3_##rows##x##v)(const plane_tiles *t) { plane_strip(t, rows, v, 1, 3); }
#define PLANE_APART(rows, v)                                                                                           \
  static void CK_NAME(plane_apart_##rows##x##v)(const plane_tiles *t) { plane_strip(t, rows, v, 0, 0); }
#define FOR_EACH_APART(X)                                                                                              \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(4, 1) X(4, 2) X(4, 3)
#if REGISTERS == 32
#define FOR_EACH_LOW(X) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(3, 1) X(3, 2) X(3, 3) X(3, 4) X(4, 1) X(4, 2) X(4, 3) X(4, 4)
#define FOR_EACH_HIGH(X) X(6, 1) X(6, 2) X(6, 3) X(6, 4)
#elif SMALL
#define FOR_EACH_LOW(X) X(2, 1) X(2, 2) X(3, 1) X(3, 2) X(4, 1) X(4, 2)
#define FOR_EACH_HIGH(X) X(6, 1) X(6, 2)
#else
#define FOR_EACH_LOW(X) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(3, 1) X(3, 2) X(3, 3) X(4, 1) X(4, 2) X(4, 3)
#define FOR_EACH_HIGH(X) X(6, 1) X(6, 2)
#endif
FOR_EACH_LOW(PLANE)
FOR_EACH_HIGH(PLANE)
FOR_EACH_APART(PLANE_APART)

typedef void (*plane_fn)(const plane_tiles *);
#define PLANE_ENTRY(rows, v) [rows][v] = CK_NAME(plane_##rows##x##v),
#define PLANE_3_ENTRY(rows, v) [rows][v] = CK_NAME(plane_3_##rows##x##v),
#define PLANE_APART_ENTRY(rows, v) [rows][v] = CK_NAME(plane_apart_##rows##x##v),
static const plane_fn CK_NAME(planes_shared)[PLANE_ROWS + 1][5] = {FOR_EACH_LOW(PLANE_ENTRY)
                                                                       FOR_EACH_HIGH(PLANE_ENTRY)};
/* Tiles of four rows under 3x3 taps have a loop of their own, 0.9 of the time, where that is worth its size. */
#if REAL_IS_FLOAT && !SMALL
#if REGISTERS == 32
#define FOR_EACH_OF_FOUR(X) X(4, 1) X(4, 2) X(4, 3) X(4, 4)
#else
#define FOR_EACH_OF_FOUR(X) X(4, 1) X(4, 2) X(4, 3)
#endif
FOR_EACH_OF_FOUR(PLANE_3)
static const plane_fn CK_NAME(planes_3)[PLANE_ROWS + 1][5] = {FOR_EACH_OF_FOUR(PLANE_3_ENTRY)};
#else
static const plane_fn CK_NAME(planes_3)[PLANE_ROWS + 1][5] = {{0}};
#endif
static const plane_fn CK_NAME(planes_apart)[5][7] = {FOR_EACH_APART(PLANE_APART_ENTRY)};

/* Rows of the next tile: as many as share taps, but no single one at the end. */
CK_INLINE int64_t tile_rows(const ck_plane *p, int sharing, int64_t left) {
  static const int8_t next[] = {0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 4};
  if (!sharing)
    return left >= 4 ? 4 : left >= 2 ? 2 : left;
  const int64_t rows = left < 12 ? next[left] : PLANE_ROWS, most = p->taps_y + 1;
  return rows <= most ? rows : most == 5 ? 4 : most;
}

/* Whole vectors are stored in the user's memory, too, but for one that is all there is: the last one moves back. */
static void CK_NAME(plane_rows)(const ck_plane *p, int64_t row, int64_t tiles, const plane_fn *strip, int64_t most) {
  const int64_t vectors = (p->columns + VL - 1) / VL;
  for (int64_t done = 0, wide; done < vectors; done += wide) {
    const int64_t left = vectors - done;
    wide = left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
    const int64_t past = (done + wide) * VL - p->columns, over = p->finish && p->columns >= VL && past > 0 ? past : 0;
    const int64_t x = done * VL - (wide == 1 ? over : 0);
    const plane_tiles t = {.p = p,
                           .s = (const REAL *)p->s + row * p->s_row + x,
                           .to = p->to + row * p->to_row + x * (int64_t)sizeof(REAL),
                           .tiles = tiles,
                           .last = (wide - 1) * VL - (wide == 1 ? 0 : over)};
    strip[wide](&t);
  }
}

/* A row by itself under some vectors of neighbouring taps: what lies `i` elements after the start of a vector is read
 * once for tap i of the output that begins there, tap VL + i of the one before, and so on. Both halves of the row go
 * side by side, so that a weight serves two products. Read for one output alone, twice as much comes out of level 1. */
CK_INLINE void long_taps(const REAL *s, int64_t apart, const REAL *w, int64_t first, int64_t end, int chains,
                         vreal (*acc)[2]) {
  for (int64_t i = first; i < end; i++) {
    const vreal a = v_loadu(s + i), b = v_loadu(s + apart + i);
    CK_UNROLL
    for (int m = 0; m < chains; m++) {
      const REAL weight = w[m * VL + i];
      acc[m][0] += weight * a;
      acc[m][1] += weight * b;
    }
  }
}

/* Outputs begun after the last one, and before the first, are not stored. */
CK_INLINE void long_row(const ck_plane *p, const REAL *s, char *to, int chains) {
  const int64_t vectors = (p->columns + VL - 1) / VL, half = (vectors + 1) / 2, apart = p->columns - half * VL;
  const int64_t rest = p->taps_x - (chains - 1) * VL;
  vreal acc[4][2] = {{{0}}};
  for (int64_t j = 0; j < half + chains - 1; j++, s += VL) {
    long_taps(s, apart, p->panel, 0, rest, chains, acc);
    long_taps(s, apart, p->panel, rest, VL, chains - 1, acc);
    if (j >= chains - 1) {
      v_storeu(to, plane_sum(p->finish, acc[chains - 1][0]));
      v_storeu(to + apart * (int64_t)sizeof(REAL), plane_sum(p->finish, acc[chains - 1][1]));
      to += VBYTES;
    }
    CK_UNROLL
    for (int m = chains - 1; m > 0; m--) {
      acc[m][0] = acc[m - 1][0];
      acc[m][1] = acc[m - 1][1];
    }
    acc[0][0] = acc[0][1] = (vreal){0};
  }
}

static void CK_NAME(plane_long)(const ck_plane *plane) {
  const ck_plane here = *plane, *p = &here;
  for (int64_t r = 0; r < p->rows; r++) {
    const REAL *s = (const REAL *)p->s + r * p->s_row + *p->ko;
    if (p->taps_x > 3 * VL)
      long_row(p, s, p->to + r * p->to_row, 4);
    else
      long_row(p, s, p->to + r * p->to_row, 3);
  }
}

static int CK_NAME(plane_is_long)(const ck_plane *p) {
  return p->planes == 1 && p->taps_y == 1 && p->taps_x > 2 * VL && p->taps_x <= 4 * VL && p->columns > VL && !p->add &&
         p->ko[1] - p->ko[0] == 1 && p->ko[p->taps_x - 1] - p->ko[0] == p->taps_x - 1;
}

static void CK_NAME(plane)(const ck_plane *p) {
  if (CK_NAME(plane_is_long)(p)) {
    CK_NAME(plane_long)(p);
    return;
  }
  const int sharing = p->s_row == p->s_tap && p->taps_y > 1, is_3 = p->taps_y == 3 && p->taps_x == 3;
  for (int64_t row = 0, rows, tiles; row < p->rows; row += rows * tiles) {
    const int64_t left = p->rows - row;
    rows = tile_rows(p, sharing, left);
    for (tiles = 1; tile_rows(p, sharing, left - tiles * rows) == rows;)
      tiles++;
    const int of_3 = is_3 && CK_NAME(planes_3)[rows][1];
    if (!sharing || rows == 1)
      CK_NAME(plane_rows)(p, row, tiles, CK_NAME(planes_apart)[rows], APART_VECTORS(rows));
    else
      CK_NAME(plane_rows)(p, row, tiles, of_3 ? CK_NAME(planes_3)[rows] : CK_NAME(planes_shared)[rows],
                          SHARED_VECTORS(rows));
  }
}

#endif
