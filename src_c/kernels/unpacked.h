/* A few rows against weights that are read once, where they are: see ck_unpacked.
 *
 * Weights whose products are adjacent are transposed in registers, for up to 16 lanes a cache line of products after
 * the other: rows of weights are often a multiple of 4096 bytes apart, and more lines than these would meet in
 * one set of level 1. Each sum is the chain that it is everywhere. */
#ifndef CK_UNPACKED_H
#define CK_UNPACKED_H

#include "transpose.h"

/* Rows at a time, at most, and products: a line of them. Vectors of lanes: of 32 rows of weights at once the machine
 * does not follow each. With AVX-512 on a Zen 4 25088 to 4096 took 1.6 times as long by 32, 2048 to 1000, from level 3,
 * 1.25, and 256 to 256 as long. */
enum { UNPACKED_ROWS = 4, LINE = 64 / (int)sizeof(REAL), UNPACKED_VECTORS = VL < 16 ? 2 : 1 };

/* So many vectors of lanes, or fewer lanes: the others are the last one once more. */
typedef struct CK_NAME(strip) {
  const char *w, *x;
  int64_t w_lane, x_row, lane[UNPACKED_VECTORS * VL];
} CK_NAME(strip);

/* A line from product k on. */
CK_INLINE void turn_line(const CK_NAME(strip) * s, int whole, int64_t k, vreal (*turned)[UNPACKED_VECTORS]) {
  const char *w = s->w + k * (int64_t)sizeof(REAL);
  CK_UNROLL
  for (int v = 0; v < UNPACKED_VECTORS; v++) {
    CK_UNROLL
    for (int u = 0; u < LINE / VL; u++) {
      vreal r[VL];
      CK_UNROLL
      for (int q = v * VL; q < (v + 1) * VL; q++)
        r[q - v * VL] = v_loadu(w + (whole ? q * s->w_lane : s->lane[q]) + u * VBYTES);
      transpose(r);
      CK_UNROLL
      for (int q = 0; q < VL; q++)
        turned[u * VL + q][v] = r[q];
    }
  }
}

CK_INLINE void add_product(int rows, const char *x, int64_t x_row, const vreal *b, vreal (*acc)[UNPACKED_VECTORS]) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    const REAL a = *(const real_u *)(x + i * x_row);
    CK_UNROLL
    for (int v = 0; v < UNPACKED_VECTORS; v++)
      acc[i][v] += a * b[v];
  }
}

CK_INLINE void add_line(int rows, const CK_NAME(strip) * s, int whole, int64_t k, vreal (*acc)[UNPACKED_VECTORS]) {
  vreal turned[LINE][UNPACKED_VECTORS];
  turn_line(s, whole, k, turned);
  CK_UNROLL
  for (int q = 0; q < LINE; q++)
    add_product(rows, s->x + (k + q) * (int64_t)sizeof(REAL), s->x_row, turned[q], acc);
}

static __attribute__((noinline)) void CK_NAME(turn_part)(const CK_NAME(strip) * s, int64_t k,
                                                         vreal (*turned)[UNPACKED_VECTORS]) {
  turn_line(s, 0, k, turned);
}

/* Products first..end-1 of the line from product k on, all of which can be read. */
CK_INLINE void add_part(int rows, const CK_NAME(strip) * s, int64_t k, int64_t first, int64_t end,
                        vreal (*acc)[UNPACKED_VECTORS]) {
  vreal turned[LINE][UNPACKED_VECTORS];
  CK_NAME(turn_part)(s, k, turned);
  for (int64_t q = first; q < end; q++)
    add_product(rows, s->x + (k + q) * (int64_t)sizeof(REAL), s->x_row, turned[q], acc);
}

/* Where lines would meet in a set, whole ones of memory, and parts before and after them. */
CK_INLINE void sum_turned(int rows, const CK_NAME(strip) * s, int64_t lanes, int64_t k,
                          vreal (*acc)[UNPACKED_VECTORS]) {
  const int64_t size = sizeof(REAL), meet = s->w_lane % 2048 == 0;
  int64_t done = meet ? -(int64_t)((uintptr_t)s->w / size) & (LINE - 1) : 0;
  if (done)
    add_part(rows, s, 0, 0, done, acc);
  for (; done + LINE <= k && lanes >= UNPACKED_VECTORS * VL; done += LINE)
    add_line(rows, s, 1, done, acc);
  for (; done + LINE <= k; done += LINE)
    add_line(rows, s, 0, done, acc);
  if (done < k)
    add_part(rows, s, k - LINE, done - (k - LINE), LINE, acc);
}

/* Products of lanes that are adjacent, at a time: of all rows and lanes, then the next ones, the chains going on in
 * scratch. So weights are read once, as so many streams. Vectors of lanes side by side, which share what is loaded of
 * the rows: of 512 to 256 channels with 4x4 taps, 4 rows take 0.6 of the time of one vector (Zen 3). */
enum { TOGETHER = 8, BESIDE = 2 };

/* `count` products of some rows and up to BESIDE vectors of lanes, from w on; n: lanes of the last vector. */
CK_INLINE void adjacent_tile(int rows, int vectors, const ck_unpacked *u, const char *x, const char *w, int64_t count,
                             int64_t n, int begins, REAL *chain) {
  const int64_t size = sizeof(REAL), ld = u->ld;
  vreal acc[UNPACKED_ROWS][BESIDE];
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int v = 0; v < vectors; v++)
      acc[i][v] = begins ? (vreal){0} : v_load(chain + i * ld + v * VL);
  }
  CK_UNROLL
  for (int64_t q = 0; q < count; q++, x += size, w += u->w_k) {
    vreal b[BESIDE];
    CK_UNROLL
    for (int v = 0; v < vectors; v++)
      b[v] = v + 1 < vectors ? v_loadu(w + v * VBYTES) : load_first(w + v * VBYTES, n);
    CK_UNROLL
    for (int i = 0; i < rows; i++) {
      const REAL a = *(const real_u *)(x + i * u->x_row);
      CK_UNROLL
      for (int v = 0; v < vectors; v++)
        acc[i][v] += a * b[v];
    }
  }
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int v = 0; v < vectors; v++)
      v_store(chain + i * ld + v * VL, acc[i][v]);
  }
}

/* Products of some rows and all lanes, from k on; chain is the first row's. */
CK_INLINE void adjacent_rows(int rows, const ck_unpacked *u, int64_t row, int64_t k, REAL *chain) {
  const int64_t size = sizeof(REAL), count = u->k - k < TOGETHER ? u->k - k : TOGETHER;
  const char *x = u->x + row * u->x_row + k * size, *w = u->w + k * u->w_k;
  const int begins = k == 0 && !u->go_on;
  int64_t j = 0;
  for (; count == TOGETHER && j + BESIDE * VL <= u->lanes; j += BESIDE * VL)
    adjacent_tile(rows, BESIDE, u, x, w + j * size, TOGETHER, VL, begins, chain + j);
  for (; j < u->lanes; j += VL)
    adjacent_tile(rows, 1, u, x, w + j * size, count, u->lanes - j, begins, chain + j);
}

CK_INLINE void turned_rows(int rows, const ck_unpacked *u, int64_t row) {
  CK_NAME(strip) s = {.w = u->w, .x = u->x + row * u->x_row, .w_lane = u->w_lane, .x_row = u->x_row};
  vreal acc[UNPACKED_ROWS][UNPACKED_VECTORS];
  for (int q = 0; q < UNPACKED_VECTORS * VL; q++)
    s.lane[q] = (q < u->lanes ? q : u->lanes - 1) * u->w_lane;
  CK_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < UNPACKED_VECTORS; v++)
      acc[i][v] = (vreal){0};
  sum_turned(rows, &s, u->lanes, u->k, acc);
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    for (int v = 0; v < UNPACKED_VECTORS && v * VL < u->lanes; v++) {
      REAL *at = (REAL *)u->to + (row + i) * u->ld + v * VL;
      v_store(at, u->add ? v_load(at) + acc[i][v] : acc[i][v]);
    }
  }
}

static void CK_NAME(turned_1)(const ck_unpacked *u, int64_t row) { turned_rows(1, u, row); }
static void CK_NAME(turned_2)(const ck_unpacked *u, int64_t row) { turned_rows(2, u, row); }
static void CK_NAME(turned_4)(const ck_unpacked *u, int64_t row) { turned_rows(4, u, row); }

static void CK_NAME(adjacent_1)(const ck_unpacked *u, int64_t row, int64_t k, REAL *chain) {
  adjacent_rows(1, u, row, k, chain);
}
static void CK_NAME(adjacent_2)(const ck_unpacked *u, int64_t row, int64_t k, REAL *chain) {
  adjacent_rows(2, u, row, k, chain);
}
static void CK_NAME(adjacent_4)(const ck_unpacked *u, int64_t row, int64_t k, REAL *chain) {
  adjacent_rows(4, u, row, k, chain);
}

static void CK_NAME(adjacent)(const ck_unpacked *u) {
  REAL *chain = u->add ? u->chain : u->to;
  for (int64_t k = 0; k < u->k; k += TOGETHER) {
    int64_t row = 0;
    for (; row + 4 <= u->rows; row += 4)
      CK_NAME(adjacent_4)(u, row, k, chain + row * u->ld);
    for (; row + 2 <= u->rows; row += 2)
      CK_NAME(adjacent_2)(u, row, k, chain + row * u->ld);
    if (row < u->rows)
      CK_NAME(adjacent_1)(u, row, k, chain + row * u->ld);
  }
  for (int64_t j = 0; j < u->rows * u->ld && u->add; j += VL)
    v_store((REAL *)u->to + j, v_load((REAL *)u->to + j) + v_load(chain + j));
}

static void CK_NAME(unpacked)(const ck_unpacked *u) {
  int64_t row = 0;
  if (u->w_k != sizeof(REAL)) {
    CK_NAME(adjacent)(u);
    return;
  }
  for (; row + 4 <= u->rows; row += 4)
    CK_NAME(turned_4)(u, row);
  for (; row + 2 <= u->rows; row += 2)
    CK_NAME(turned_2)(u, row);
  if (row < u->rows)
    CK_NAME(turned_1)(u, row);
}

#endif
