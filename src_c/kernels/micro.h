/* The micro-kernel: one register tile. Its rows are scalars and its lanes vectors (rows in runs or anywhere, all
 * products or some, vectors of half the width), or both are vectors, lane by lane; or lanes are neighbours and rows the
 * panel's.
 *
 * Every accumulator is one chain of multiply-adds from +0 in the order of k, so that tile shape, orientation, thread
 * count and (where there is a fused multiply-add) instruction set leave the bits alone.  A height is a compile-time
 * constant: the compiler keeps the whole tile in registers, and no height has an edge path. */
#ifndef CK_MICRO_H
#define CK_MICRO_H

#include "math.h"
#include "transpose.h"

/* Registers less the panel's vectors and a broadcast, over two vectors a row: 14 with 32 registers, 6 with 16. */
#define MAX_HEIGHT ((REGISTERS - 4) / 2)

CK_INLINE void start_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], const REAL *from, int64_t ldc) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      acc[i][j] = from ? v_loadu(from + i * ldc + j * VL) : (vreal){0};
  }
}

CK_INLINE void add_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], const REAL *to, int64_t ldc) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      acc[i][j] += v_loadu(to + i * ldc + j * VL);
  }
}

CK_INLINE void end_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], REAL *to, int64_t ldc) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      v_storeu(to + i * ldc + j * VL, acc[i][j]);
  }
}

/* A tile's last vector, of which n elements are there, one at least. With a mask whole ones are no case of their own,
 * which would be as much code again for each row. */
#if MASKED_LANES
CK_INLINE vreal load_last(const char *src, int64_t n) { return load_part(src, n); }
CK_INLINE void store_last(char *dst, vreal v, int64_t n) { store_part(dst, v, n); }
#else
CK_INLINE vreal load_last(const char *src, int64_t n) { return load_first(src, n); }
CK_INLINE void store_last(char *dst, vreal v, int64_t n) { store_first(dst, v, n); }
#endif

/* The first `lanes` of the tile: all but for a part of its last vector. What may be added is added before, along with
 * the bias, in whose place then comes what leaves any value as it is: within the loop it would make a second copy of
 * it; and a loop for each step, sharing addresses, lets stores wait for the whole tile (1x1 of 3 to 84 channels took
 * 1.1 times as long: Zen 4, AVX-512). */
CK_INLINE void finish_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], const ck_finish *f, char *dst,
                           int64_t lanes, int bias_of_lanes) {
  enum { MOST = 2 * VL > CK_MAX_HEIGHT ? 2 * VL : CK_MAX_HEIGHT };
  static const REAL none[MOST] __attribute__((aligned(VBYTES))) = {[0 ... MOST - 1] = -(REAL)0};
  const vreal low = v_set1((REAL)f->bounds.low), high = v_set1((REAL)f->bounds.high);
  const REAL *bias = f->bias;
  const int64_t step = f->row, last = lanes - (vectors - 1) * VL;
  if (f->add) {
    const char *from = dst;
    CK_UNROLL
    for (int i = 0; i < rows; i++, from += step) {
      CK_UNROLL
      for (int j = 0; j < vectors; j++) {
        const vreal v = acc[i][j] + (bias_of_lanes ? v_load(bias + j * VL) : v_set1(bias[i]));
        acc[i][j] = (j + 1 < vectors ? v_loadu(from + j * VBYTES) : load_last(from + j * VBYTES, last)) + v;
      }
    }
    bias = none;
    CK_OPAQUE(dst);
  }
  CK_UNROLL
  for (int i = 0; i < rows; i++, dst += step) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++) {
      const vreal sum = acc[i][j] + (bias_of_lanes ? v_load(bias + j * VL) : v_set1(bias[i]));
      const vreal v = v_within(low, high, sum);
      if (j + 1 < vectors)
        v_storeu(dst + j * VBYTES, v);
      else
        store_last(dst + j * VBYTES, v, last);
    }
  }
}

/* The same of lane strips. */
#if MASKED_LANES
CK_INLINE void finish_lanes(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], const ck_finish *f, char *dst,
                            int64_t lanes) {
  finish_tile(rows, vectors, acc, f, dst, lanes < vectors * VL ? lanes : vectors * VL, 0);
}
#else
/* By way of scratch where they end within the last vector: in registers, each vector would be code for every number of
 * lanes. */
static __attribute__((noinline)) void CK_NAME(finish_part)(int rows, int vectors, const REAL *tile, const ck_finish *f,
                                                           char *dst, int64_t lanes) {
  const vreal low = v_set1((REAL)f->bounds.low), high = v_set1((REAL)f->bounds.high);
  for (int i = 0; i < rows; i++, dst += f->row) {
    for (int j = 0; j < vectors; j++, tile += VL) {
      vreal v = v_loadu(tile) + v_set1(((const REAL *)f->bias)[i]);
      if (f->add)
        v = load_first(dst + j * VBYTES, lanes - j * VL) + v;
      store_first(dst + j * VBYTES, v_within(low, high, v), lanes - j * VL);
    }
  }
}

CK_INLINE void finish_lanes(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], const ck_finish *f, char *dst,
                            int64_t lanes) {
  REAL tile[CK_MAX_HEIGHT * CK_MAX_LANE_VECTORS * VL];
  if (lanes >= vectors * VL) {
    finish_tile(rows, vectors, acc, f, dst, vectors * VL, 0);
    return;
  }
  end_tile(rows, vectors, acc, tile, vectors * VL);
  CK_NAME(finish_part)(rows, vectors, tile, f, dst, lanes);
}
#endif

/* As many vectors of lanes as the registers hold beside the tile. */
#define LANE_VECTORS(h)                                                                                                \
  ((REGISTERS - 1) / ((h) + 1) < CK_MAX_LANE_VECTORS ? (REGISTERS - 1) / ((h) + 1) : CK_MAX_LANE_VECTORS)

/* Whether products at a constant step have loops of their own. Lane strips that are much narrower than they might be
 * are few. Of three vectors or more, two products a turn make GCC 12 keep sums in memory where they leave one of 32
 * registers free: 9x3 took 1.1 times as long (Zen 5). */
#define HAS_STEPS (!SMALL && REAL_IS_FLOAT)
#define LANES_HAVE_STEPS(h, v)                                                                                         \
  (HAS_STEPS && (v) + 1 >= LANE_VECTORS(h) && (REGISTERS == 16 || (v) < 3 || (h) * (v) + (v) + 2 < REGISTERS))

/* One product of a tile whose rows are at constant steps. */
CK_INLINE void row_product(int height, int vectors, int far, const REAL *at, int64_t step, int64_t second,
                           const REAL *panel, const char *next, int64_t ahead, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const REAL *after = at + second;
  vreal b[2];
  __builtin_prefetch(next);
  if (far)
    __builtin_prefetch(at + ahead);
  CK_UNROLL
  for (int j = 0; j < vectors; j++)
    b[j] = v_load(panel + j * VL);
  CK_UNROLL
  for (int i = 0; i < height; i++) {
    REAL a = i < (height + 1) / 2 ? at[i * step] : after[(i - (height + 1) / 2) * step];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      acc[i][j] += a * b[j];
  }
}

/* Rows at constant steps: a table of their offsets, reloaded for every k, is as much to do as the multiply-adds on a
 * machine that issues four instructions at a time (73 % of the peak against 84). `next`: to be fetched meanwhile; if
 * `far`, also what lies `ahead`. */
CK_INLINE void rows_in_runs(int height, int vectors, int far, const ck_strip *p, const ck_row_panel *rows,
                            const REAL *panel, const char *next, int64_t ahead, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const REAL *s = (const REAL *)p->s + rows->first;
  const int32_t *ko = p->ko, *end = ko + p->k;
  const int64_t step = rows->step, second = rows->second, next_step = p->next_step;
  CK_OPAQUE(s); /* or its two parts are added for each product */
  for (; ko < end; ko++, panel += vectors * VL, next += next_step)
    row_product(height, vectors, far, s + *ko, step, second, panel, next, ahead, acc);
}

/* The same where products are at a constant step, too, and even in number: two a turn, without a table, 24 to 26
 * instructions for the 12 multiply-adds of 6x2 rows in place of 28. Where a core begins them as fast as it likes that
 * is worth little (Zen 3: linear 197x768 to 768 0.93 to 0.98 of the time), where another thread shares it 0.85 to 0.9.
 */
CK_INLINE void rows_in_steps(int height, int vectors, int far, const ck_strip *p, const ck_row_panel *rows,
                             const REAL *panel, const char *next, int64_t ahead, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const REAL *at = (const REAL *)p->s + rows->first + *p->ko, *end = panel + p->k * vectors * VL;
  const int64_t step = rows->step, second = rows->second, k_step = p->k_step, next_step = p->next_step;
  while (panel < end) {
    CK_UNROLL
    for (int u = 0; u < 2; u++, at += k_step) {
      row_product(height, vectors, far, at, step, second, panel + u * vectors * VL, next + u * next_step, ahead, acc);
      CK_OPAQUE(at);
    }
    panel += 2 * vectors * VL;
    next += 2 * next_step;
  }
}

/* Where each row begins. */
CK_INLINE void row_pointers(int height, const ck_row_panel *rows, const REAL *s, const REAL **row) {
  const int half = (height + 1) / 2;
  s += rows->first;
  if (rows->ro) {
    CK_UNROLL
    for (int i = 0; i < height; i++)
      row[i] = s + rows->ro[i];
  } else {
    CK_UNROLL
    for (int i = 0; i < height; i++)
      row[i] = i < half ? s + i * rows->step : s + rows->second + (i - half) * rows->step;
  }
}

CK_INLINE void rows_anywhere(int height, int vectors, const ck_strip *p, const ck_row_panel *rows, const REAL *panel,
                             vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const REAL *row[CK_MAX_HEIGHT];
  const int32_t *ko = p->ko, *end = ko + p->k;
  row_pointers(height, rows, p->s, row);
  for (; ko < end; ko++, panel += vectors * VL) {
    const int64_t at = *ko;
    vreal b[2];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      b[j] = v_load(panel + j * VL);
    CK_UNROLL
    for (int i = 0; i < height; i++) {
      REAL a = row[i][at];
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[i][j] += a * b[j];
    }
  }
}

/* From a tile's first row to the last one of the tile after it, whose other lines have been fetched for this one. */
CK_INLINE int64_t end_of_next(int height, const ck_row_panel *rows) {
  const int half = (height + 1) / 2;
  return rows[1].first - rows->first + rows[1].second + (height - half - 1) * rows[1].step;
}

/* Of tile t of the strip. */
CK_INLINE void end_rows(int height, int vectors, const ck_strip *p, int64_t t, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  REAL *to = (REAL *)p->to + t * p->ldc;
  if (p->add)
    add_tile(height, vectors, acc, to, vectors * VL);
  if (p->finish)
    finish_tile(height, vectors, acc, p->finish, p->finish->dst + t * height * p->finish->row, p->finish->lanes, 1);
  else
    end_tile(height, vectors, acc, to, vectors * VL);
}

CK_INLINE void rows_strip(int height, int vectors, const ck_strip *p) {
  for (int64_t t = 0; t < p->tiles; t++) {
    const int far = p->ahead && t + 1 < p->tiles;
    const ck_row_panel *rows = p->rows + t;
    const REAL *panel = (const REAL *)p->panel + t * p->apart;
    const char *next = (const char *)p->next + t * p->next_tile;
    vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
    start_tile(height, vectors, acc, p->from ? (const REAL *)p->from + t * p->ldc : NULL, vectors * VL);
    if (rows->ro)
      rows_anywhere(height, vectors, p, rows, panel, acc);
    else if (HAS_STEPS && p->k_step && (far || vectors == 1)) /* of one vector there is no second loop */
      rows_in_steps(height, vectors, 1, p, rows, panel, next, far ? end_of_next(height, rows) : 0, acc);
    else if (HAS_STEPS && p->k_step)
      rows_in_steps(height, vectors, 0, p, rows, panel, next, 0, acc);
    else if (far)
      rows_in_runs(height, vectors, 1, p, rows, panel, next, end_of_next(height, rows), acc);
    else
      rows_in_runs(height, vectors, 0, p, rows, panel, next, 0, acc);
    end_rows(height, vectors, p, t, acc);
  }
}

/* Its product is that of rows_anywhere, written out: out of one function for both GCC 12 makes loops that take 1.04 to
 * 1.09 times as long (Zen 4). */
CK_INLINE void picked_strip(int height, int vectors, const ck_strip *p) {
  for (int64_t t = 0; t < p->tiles; t++) {
    const REAL *panel = p->panel, *row[CK_MAX_HEIGHT];
    const int32_t *ko = p->ko, *po = p->po, *end = ko + p->k;
    const char *next = (const char *)p->next + t * p->next_tile;
    vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
    start_tile(height, vectors, acc, p->from ? (const REAL *)p->from + t * p->ldc : NULL, vectors * VL);
    row_pointers(height, p->rows + t, p->s, row);
    for (; ko < end; ko++, po++, next += p->next_step) {
      const int64_t at = *ko;
      const REAL *lanes = panel + *po;
      vreal b[2];
      __builtin_prefetch(next);
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        b[j] = v_load(lanes + j * VL);
      CK_UNROLL
      for (int i = 0; i < height; i++) {
        REAL a = row[i][at];
        CK_UNROLL
        for (int j = 0; j < vectors; j++)
          acc[i][j] += a * b[j];
      }
    }
    if (p->add)
      add_tile(height, vectors, acc, (const REAL *)p->to + t * p->ldc, vectors * VL);
    end_tile(height, vectors, acc, (REAL *)p->to + t * p->ldc, vectors * VL);
  }
}

/* Up to half a vector of lanes: of vectors half as wide a Zen 4 begins two multiply-adds a cycle, of whole ones one.
 * Doubles go without, as without steps: the wheel has no room for both. */
#if VBYTES == 64 && REAL_IS_FLOAT
typedef REAL vhalf __attribute__((vector_size(VBYTES / 2)));
typedef REAL vhalf_a __attribute__((vector_size(VBYTES / 2), may_alias));

CK_INLINE vhalf load_half(const REAL *p) { return *(const vhalf_a *)p; }

CK_INLINE void narrow_strip(int height, const ck_strip *p) {
  const int half = (height + 1) / 2;
  for (int64_t t = 0; t < p->tiles; t++) {
    const ck_row_panel *rows = p->rows + t;
    const REAL *s = (const REAL *)p->s + rows->first, *panel = p->panel, *from = p->from, *row[CK_MAX_HEIGHT];
    const int32_t *ko = p->ko, *end = ko + p->k;
    vhalf sum[CK_MAX_HEIGHT];
    CK_UNROLL
    for (int i = 0; i < height; i++)
      sum[i] = from ? load_half(from + t * p->ldc + i * VL) : (vhalf){0};
    if (rows->ro) {
      row_pointers(height, rows, p->s, row);
      for (; ko < end; ko++, panel += VL) {
        const vhalf b = load_half(panel);
        CK_UNROLL
        for (int i = 0; i < height; i++)
          sum[i] += row[i][*ko] * b;
      }
    } else {
      const int64_t step = rows->step, second = rows->second;
      for (; ko < end; ko++, panel += VL) {
        const REAL *at = s + *ko, *after = at + second;
        const vhalf b = load_half(panel);
        CK_UNROLL
        for (int i = 0; i < height; i++) {
          REAL a = i < half ? at[i * step] : after[(i - half) * step];
          sum[i] += a * b;
        }
      }
    }
    vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
    CK_UNROLL
    for (int i = 0; i < height; i++)
      acc[i][0] = __builtin_shufflevector(sum[i], (vhalf){0}, INDICES(IDENTITY));
    end_rows(height, 1, p, t, acc);
  }
}

#define NARROW(h)                                                                                                      \
  static void CK_NAME(narrow_##h)(const ck_strip *p) { narrow_strip(h, p); }
#define NARROW_STRIP(h) [h] = CK_NAME(narrow_##h),
#else
#define NARROW(h)
#define NARROW_STRIP(h)
#endif

CK_INLINE void group_strip(int height, const ck_strip *p) {
  for (int64_t t = 0; t < p->tiles; t++) {
    const ck_row_panel *rows = p->rows + t;
    const REAL *panel = p->panel, *row[CK_MAX_HEIGHT];
    const int32_t *ko = p->ko, *end = ko + p->k;
    vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
    start_tile(height, 1, acc, p->from ? (const REAL *)p->from + t * height * VL : NULL, VL);
    row_pointers(height, rows, p->s, row);
    for (; ko < end; ko++, panel += VL) {
      const int64_t at = *ko;
      vreal b = v_load(panel);
      CK_UNROLL
      for (int i = 0; i < height; i++)
        acc[i][0] += v_load(row[i] + at) * b;
    }
    if (p->add)
      add_tile(height, 1, acc, (const REAL *)p->to + t * height * VL, VL);
    end_tile(height, 1, acc, (REAL *)p->to + t * height * VL, VL);
  }
}

CK_INLINE void fetch_lanes(int vectors, const REAL *at, const int64_t *vector) {
  CK_OPAQUE(at);
  CK_UNROLL
  for (int j = 0; j < vectors; j++)
    if (j * VBYTES % 64 == 0)
      __builtin_prefetch(at + vector[j]);
}

CK_INLINE void lane_product(int height, int vectors, const REAL *at, const int64_t *vector, const REAL *panel,
                            vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  vreal b[CK_MAX_LANE_VECTORS];
  CK_UNROLL
  for (int j = 0; j < vectors; j++)
    b[j] = v_loadu(at + vector[j]);
  CK_UNROLL
  for (int i = 0; i < height; i++) {
    REAL a = panel[i];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      acc[i][j] += a * b[j];
  }
}

/* What the next tile reads is fetched meanwhile, if it lies in memory, a plane for each product, too far apart for the
 * machine to guess. Without, 1x1 kernels that read in place waited for a line with each product: with AVX-512 on a Zen
 * 4 (one thread) 204 to 13 channels on 139x139 take 0.3 of the time that they took, 102 to 32 on 41x41 0.5. Data in
 * scratch are closer, and tiles of two rows would take 1.2 times as long. One loop for both, and the compiler must not
 * see through it, or each address would have a register. */
CK_INLINE void lane_sums(int height, int vectors, const ck_strip *p, const int64_t *vector,
                         vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const REAL *s = p->s, *panel = p->panel;
  const char *next = p->next;
  const int32_t *ko = p->ko, *end = ko + p->k;
  const int64_t next_step = p->next_step, row = (height + VL - 1) / VL * VL;
  for (; ko < end; ko++, panel += row, next += next_step) {
    const REAL *at = s + *ko;
    int64_t ahead = p->ahead;
    __builtin_prefetch(next);
    CK_OPAQUE(ahead);
    if (ahead)
      fetch_lanes(vectors, at + ahead, vector);
    lane_product(height, vectors, at, vector, panel, acc);
  }
}

/* The same of products at a constant step, two a turn, as rows_in_steps has it. */
CK_INLINE void lane_sums_in_steps(int height, int vectors, const ck_strip *p, const int64_t *vector,
                                  vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  const int64_t k_step = p->k_step, next_step = p->next_step, row = (height + VL - 1) / VL * VL;
  const REAL *at = (const REAL *)p->s + *p->ko, *panel = p->panel, *end = panel + p->k * row;
  const char *next = p->next;
  for (; panel < end; panel += 2 * row, next += 2 * next_step) {
    int64_t ahead = p->ahead;
    __builtin_prefetch(next);
    __builtin_prefetch(next + next_step);
    CK_OPAQUE(ahead);
    if (ahead) {
      fetch_lanes(vectors, at + ahead, vector);
      fetch_lanes(vectors, at + ahead + k_step, vector);
    }
    CK_UNROLL
    for (int u = 0; u < 2; u++, at += k_step) {
      lane_product(height, vectors, at, vector, panel + u * row, acc);
      CK_OPAQUE(at);
    }
  }
}

CK_INLINE void lanes_strip(int height, int vectors, const ck_strip *p) {
  for (int64_t t = 0; t < p->tiles; t++) {
    const int64_t beside = t * p->beside * VL;
    int64_t vector[CK_MAX_LANE_VECTORS];
    for (int j = 0; j < vectors; j++)
      vector[j] = p->vo ? p->vo[t * p->beside + j] : beside + j * VL;
    vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
    start_tile(height, vectors, acc, p->from ? (const REAL *)p->from + beside : NULL, p->ldc);
    if (LANES_HAVE_STEPS(height, vectors) && p->k_step)
      lane_sums_in_steps(height, vectors, p, vector, acc);
    else
      lane_sums(height, vectors, p, vector, acc);
    if (p->add)
      add_tile(height, vectors, acc, (const REAL *)p->to + beside, p->ldc);
    if (!p->finish) {
      end_tile(height, vectors, acc, (REAL *)p->to + beside, p->ldc);
      continue;
    }
    char *dst = p->finish->dst + t * p->finish->tile;
    finish_lanes(height, vectors, acc, p->finish, dst, p->finish->lanes - t * p->finish->less);
  }
}

/* One function for each height and number of vectors. */
#define LANES(h, v)                                                                                                    \
  static void CK_NAME(lanes_##h##x##v)(const ck_strip *p) {                                                            \
    lanes_strip(h, v <= LANE_VECTORS(h) ? v : LANE_VECTORS(h), p);                                                     \
  }
#define HEIGHT(h)                                                                                                      \
  static void CK_NAME(rows_##h##x1)(const ck_strip *p) { rows_strip(h, 1, p); }                                        \
  static void CK_NAME(rows_##h##x2)(const ck_strip *p) { rows_strip(h, 2, p); }                                        \
  static void CK_NAME(picked_##h##x1)(const ck_strip *p) { picked_strip(h, 1, p); }                                    \
  static void CK_NAME(picked_##h##x2)(const ck_strip *p) { picked_strip(h, 2, p); }                                    \
  NARROW(h)                                                                                                            \
  static void CK_NAME(group_##h)(const ck_strip *p) { group_strip(h, p); }                                             \
  LANES(h, 1) LANES(h, 2) LANES(h, 3) LANES(h, 4) LANES(h, 5) LANES(h, 6)

#define FOR_EACH_HEIGHT_TO_6(X) X(1) X(2) X(3) X(4) X(5) X(6)
#if REGISTERS == 32
#define FOR_EACH_HEIGHT(X) FOR_EACH_HEIGHT_TO_6(X) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define FOR_EACH_HEIGHT(X) FOR_EACH_HEIGHT_TO_6(X)
#endif
FOR_EACH_HEIGHT(HEIGHT)

#endif
