/* Panels: a strided matrix of the user's, laid out [k][ld] for the micro-kernel, and its small companions. */
#ifndef CK_PACK_H
#define CK_PACK_H

#include "transpose.h"

/* Becomes NaN where anything added to it was not finite. */
CK_INLINE vreal note_nonfinite(vreal seen, vreal v) { return seen + v * (REAL)0; }

CK_INLINE int any_nonfinite(vreal seen) {
  REAL sum = 0;
  for (int i = 0; i < VL; i++)
    sum += seen[i];
  return sum != 0;
}

/* A whole vector may be loaded where it ends inside the tensor's memory: the surplus is not used. */
CK_INLINE vreal load_upto(const char *src, int64_t n, const char *end) {
  return n >= VL || src + VBYTES <= end ? v_loadu(src) : load_part(src, n);
}

CK_INLINE REAL *panel_row(const ck_pack *p, int64_t k) { return (REAL *)p->panel + (p->row ? p->row[k] : k) * p->ld; }

/* Lanes adjacent in memory: rows of the panel are copied. Each is a line of memory or two; where the next one lies far
 * from it, those some rows ahead are fetched, at least a channel's (weights that level 2 no longer has: 0.7 to 0.8 of
 * the time of gradients of x of 1x1 kernels on 2x2, 0.82 of that of 7x7, 128 to 512, whose channels lie last, Zen 4; of
 * rows that lie nearer the machine knows by itself). */
static int CK_NAME(pack_lanes)(const ck_pack *p) {
  enum { ROWS_AHEAD = 16, NEAR = 512 };
  const int64_t ahead = p->c_stride > NEAR ? (p->nt < ROWS_AHEAD ? ROWS_AHEAD / p->nt : 1) * p->c_stride : 0;
  vreal seen = {0};
  for (int64_t c = 0; c < p->nc; c++) {
    for (int64_t t = 0; t < p->nt; t++) {
      REAL *out = panel_row(p, c * p->nt + t);
      const char *row = p->src + c * p->c_stride + p->t_off[t];
      for (int64_t j = 0; j < p->ld; j += VL) {
        __builtin_prefetch(row + ahead + j * (int64_t)sizeof(REAL));
        vreal v = load_first(row + j * (int64_t)sizeof(REAL), p->lanes - j);
        seen = note_nonfinite(seen, v);
        v_store(out + j, v);
      }
    }
  }
  return any_nonfinite(seen);
}

/* `count` elements of each of up to VL lanes, one vector for each lane, then transposed; what is `later` is fetched: a
 * number, since it may be nowhere. */
CK_INLINE void load_transposed(const ck_pack *p, const char *src, uintptr_t later, int64_t lanes, int64_t count,
                               vreal *r) {
  for (int64_t q = 0; q < lanes; q++)
    __builtin_prefetch((const void *)(later + (uintptr_t)q * (uintptr_t)p->lane_stride));
  CK_UNROLL
  for (int64_t q = 0; q < VL; q++)
    r[q] = q < lanes ? load_upto(src + q * p->lane_stride, count, p->src_end) : (vreal){0};
  transpose(r);
}

/* k adjacent in memory: VL x VL transposes.  A last block short of VL is moved back to overlap the one before. What
 * lies ahead is fetched, and where rows end before, the lanes that come next: planes of 17x17 of 412 gradients, from
 * memory, take 0.8 to 0.9 of the time (Zen 4). */
static int CK_NAME(pack_transposed)(const ck_pack *p, int64_t nc, int64_t nt) {
  const int64_t size = sizeof(REAL), far = 4 * VL;
  const uintptr_t ahead = (uintptr_t)(far / nt) * (uintptr_t)p->c_stride + (uintptr_t)(far % nt * size);
  const uintptr_t beside = VL * (uintptr_t)p->lane_stride + (uintptr_t)((far - nc * nt) * size);
  vreal seen = {0};
  for (int64_t c = 0; c < nc; c++) {
    for (int64_t j = 0; j < p->ld; j += VL) {
      int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
      for (int64_t next = 0; next < nt; next += VL) {
        int64_t t = nt >= VL && next + VL > nt ? nt - VL : next;
        int64_t count = nt - t < VL ? nt - t : VL;
        const char *src = p->src + c * p->c_stride + t * size + j * p->lane_stride;
        vreal r[VL];
        load_transposed(p, src, (uintptr_t)src + (c * nt + t + far < nc * nt ? ahead : beside), lanes, count, r);
        for (int64_t q = 0; q < count; q++) {
          seen = note_nonfinite(seen, r[q]);
          v_store(panel_row(p, c * nt + t + q) + j, r[q]);
        }
      }
    }
  }
  return any_nonfinite(seen);
}

/* What was just packed is noted by vectors: element by element, each addition would wait for the one before (Zen 4:
 * gradients of x of 207 to 82 channels, 5x5 with stride 3 on 7x7, take 0.82 of the time). */
static int CK_NAME(note_rows)(const ck_pack *p) {
  vreal seen = {0};
  for (int64_t k = 0; k < p->nc * p->nt; k++) {
    const REAL *row = panel_row(p, k);
    for (int64_t j = 0; j < p->ld; j += VL)
      seen = note_nonfinite(seen, v_load(row + j));
  }
  return any_nonfinite(seen);
}

/* Lanes a few elements apart, as the weights of a transposed convolution of as few taps lie: each row is every `step`th
 * element. As rows of a transpose few taps would leave most of it empty. Step 0: lanes anywhere, one by one. */
CK_INLINE int pack_every(const ck_pack *p, const int step) {
  const int64_t whole = step ? p->lanes / VL * VL : 0;
  for (int64_t c = 0; c < p->nc; c++) {
    for (int64_t t = 0; t < p->nt; t++) {
      REAL *out = panel_row(p, c * p->nt + t);
      const char *src = p->src + c * p->c_stride + p->t_off[t];
      for (int64_t j = 0; j < whole; j += VL)
        v_store(out + j, every(src + j * p->lane_stride, step));
      for (int64_t j = whole; j < p->lanes; j++)
        out[j] = *(const real_u *)(src + j * p->lane_stride);
      for (int64_t j = p->lanes; j < p->ld; j++)
        out[j] = 0;
    }
  }
  return CK_NAME(note_rows)(p);
}

/* A single lane, one element after the other. */
static int CK_NAME(pack_column)(const ck_pack *p) {
  const int64_t count = p->nc * p->nt;
  REAL *out = p->panel, sum = 0;
  vreal seen = {0};
  int64_t i = 0;
  for (int64_t c = 0; c < p->nc; c++)
    for (int64_t t = 0; t < p->nt; t++, i++)
      out[p->row ? p->row[i] : i] = *(const real_u *)(p->src + c * p->c_stride + p->t_off[t]);
  for (i = 0; i + VL <= count; i += VL)
    seen = note_nonfinite(seen, v_loadu(out + i));
  for (; i < count; i++)
    sum += out[i] * 0;
  return any_nonfinite(note_nonfinite(seen, v_set1(sum)));
}

static int CK_NAME(pack)(const ck_pack *p) {
  const int64_t size = sizeof(REAL);
  if (p->nc == 0 || p->nt == 0) /* a phase that no tap reaches */
    return 0;
  if (p->ld == 1)
    return CK_NAME(pack_column)(p);
  int adjacent = p->ld % VL == 0;
  for (int64_t t = 0; adjacent && t < p->nt; t++)
    adjacent = p->t_off[t] == t * size;
  const int stepped = p->ld % VL == 0 && p->lanes >= VL;
  if (p->lane_stride == size && p->ld % VL == 0)
    return CK_NAME(pack_lanes)(p);
  if (stepped && p->lane_stride == 2 * size)
    return pack_every(p, 2);
  if (stepped && p->lane_stride == 3 * size)
    return pack_every(p, 3);
  if (stepped && VL > 2 && p->lane_stride == 4 * size) /* of two, the last vector but one is beyond */
    return pack_every(p, 4);
  if (adjacent && (p->nc == 1 || p->c_stride == p->nt * size))
    return CK_NAME(pack_transposed)(p, 1, p->nc * p->nt);
  if (adjacent && p->nt > 1)
    return CK_NAME(pack_transposed)(p, p->nc, p->nt);
  return pack_every(p, 0);
}

/* Of up to a vector of lanes from src on: their sums, which go on from `total`, over the `nt` elements of each. */
CK_INLINE vreal sum_transposed(const ck_pack *p, const char *src, int64_t lanes, int64_t nt, vreal total) {
  for (int64_t t = 0; t < nt; t += VL, src += VBYTES) {
    const int64_t count = nt - t < VL ? nt - t : VL;
    vreal r[VL];
    load_transposed(p, src, (uintptr_t)src + 4 * VBYTES, lanes, count, r);
    for (int64_t q = 0; q < count; q++)
      total += r[q];
  }
  return total;
}

/* The same of elements anywhere. */
CK_INLINE vreal sum_any(const ck_pack *p, const char *src, int64_t lanes, vreal total) {
  for (int64_t t = 0; t < p->nt; t++) {
    vreal v = {0};
    if (p->lane_stride == sizeof(REAL))
      v = load_first(src + p->t_off[t], lanes);
    else
      for (int64_t q = 0; q < lanes; q++)
        v[q] = *(const real_u *)(src + p->t_off[t] + q * p->lane_stride);
    total += v;
  }
  return total;
}

/* sum[j] += what pack would write of lane j, product after product: column_sums without a panel. */
static void CK_NAME(pack_sums)(const ck_pack *p, void *sum) {
  const int64_t size = sizeof(REAL), joined = p->c_stride == p->nt * size;
  int adjacent = p->lane_stride != size;
  for (int64_t t = 0; t < p->nt; t++)
    adjacent &= p->t_off[t] == t * size;
  const int64_t runs = adjacent && joined ? 1 : p->nc, nt = runs == p->nc ? p->nt : p->nc * p->nt;
  for (int64_t j = 0; j < p->lanes; j += VL) {
    const int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
    const char *src = p->src + j * p->lane_stride;
    vreal total = v_load((REAL *)sum + j);
    for (int64_t c = 0; c < runs; c++, src += p->c_stride)
      total = adjacent ? sum_transposed(p, src, lanes, nt, total) : sum_any(p, src, lanes, total);
    v_store((REAL *)sum + j, total);
  }
}

static void CK_NAME(column_sums)(const void *panel, int64_t k, int64_t ld, void *sum) {
  for (int64_t j = 0; j < ld; j += VL) {
    const REAL *row = (const REAL *)panel + j;
    vreal total = v_load((REAL *)sum + j);
    for (int64_t q = 0; q < k; q++, row += ld)
      total += v_load(row);
    v_store((REAL *)sum + j, total);
  }
}

static void CK_NAME(add)(void *dst, const void *src, int64_t count) {
  REAL *d = dst;
  const REAL *s = src;
  for (int64_t i = 0; i < count; i++)
    d[i] += s[i];
}

#endif
