/* Pooling: folds, which are sums and maxima over taps in order, and the way to and from user memory.
 *
 * A maximum gives way to what is larger or NaN: so the first of equals stays, and the last NaN. Where a block is known
 * to have no NaN, "larger" alone says the same in one instruction instead of four. Whatever is folded lies in scratch,
 * or is known to end early enough: whole vectors are read and written past the last element. */
#ifndef CK_POOL_KERNELS_H
#define CK_POOL_KERNELS_H

#include <math.h>

#include "math.h"
#include "pack.h"
#include "transpose.h"

/* b where it is larger than a, else a: also of zeros of either sign. x86's instruction says just this; not so NEON's.
 */
CK_INLINE vreal v_larger(vreal a, vreal b) {
#if defined(__aarch64__)
  return v_select(b > a, b, a);
#else
  return v_at_least(b, a);
#endif
}

CK_INLINE vmask load_codes(const char *at) {
  vmask codes;
  memcpy(&codes, at, sizeof(codes));
  return codes;
}

/* What kind of fold: constants once inlined, but for whether the codes that it finds are stored. */
typedef struct fold_kind {
  int op, indexed, coded, stored;
} fold_kind;

/* The next tap, b, whose code is `code`. */
CK_INLINE void fold_next(const fold_kind kind, vreal *v, vmask *from, vreal b, vmask code) {
  if (kind.op == CK_POOL_SUM) {
    *v += b;
    return;
  }
  if (kind.op == CK_POOL_LARGER && !kind.indexed) {
    *v = v_larger(*v, b);
    return;
  }
  vmask m = kind.op == CK_POOL_LARGER ? b > *v : (b > *v) | (b != b);
  *v = v_select(m, b, *v);
  if (kind.indexed)
    *from = (code & m) | (*from & ~m);
}

/* ---------------------------------------------------------------- taps of whole rows of elements */

/* The taps of one row of a window, for `width` vectors: independent chains, since one alone would wait for itself. */
CK_INLINE void fold_taps(const ck_pool_fold *p, const char *src, int64_t taps, vreal *v, vmask *from, const int width,
                         const fold_kind kind) {
  const char *at = src + (p->offset ? p->offset[0] : 0);
  CK_UNROLL
  for (int q = 0; q < width; q++) {
    v[q] = v_loadu(at + q * VBYTES);
    from[q] = kind.coded ? load_codes(at + q * VBYTES + p->codes) : (vmask){0};
  }
  for (int64_t t = 1; t < taps; t++) {
    at = p->offset ? src + p->offset[t] : at + p->tap_step;
    vmask code = (lane_int)(t * p->code_step) - (vmask){0};
    CK_UNROLL
    for (int q = 0; q < width; q++)
      fold_next(kind, &v[q], &from[q], v_loadu(at + q * VBYTES),
                kind.coded ? code + load_codes(at + q * VBYTES + p->codes) : code);
  }
}

CK_INLINE void fold_tile(const ck_pool_fold *p, const char *src, int64_t taps, char *dst, const int width,
                         const fold_kind kind) {
  enum { MOST = 4 };
  vreal v[MOST], w[MOST];
  vmask from[MOST], w_from[MOST];
  fold_taps(p, src, taps, v, from, width, kind);
  for (int64_t r = 1; r < p->rows; r++) {
    vmask code = (lane_int)(r * p->row_code) - (vmask){0};
    fold_taps(p, src + r * p->row_step, taps, w, w_from, width, kind);
    CK_UNROLL
    for (int q = 0; q < width; q++)
      fold_next(kind, &v[q], &from[q], w[q], code + w_from[q]);
  }
  CK_UNROLL
  for (int q = 0; q < width; q++) {
    v_storeu(dst + q * VBYTES, v[q]);
    if (kind.stored)
      memcpy(dst + q * VBYTES + p->codes, &from[q], sizeof(vmask));
  }
}

CK_INLINE void fold_rows(const ck_pool_fold *p, const fold_kind kind) {
  const int64_t vectors = (p->length + VL - 1) / VL;
  for (int64_t line = 0; line < p->lines; line++) {
    const char *from = p->src + line * p->src_line;
    char *dst = p->dst + line * p->dst_line;
    for (int64_t g = 0; g < p->groups; g++, dst += p->dst_group) {
      const char *src = from + (p->first ? p->first[g] : g) * p->src_group;
      int64_t taps = p->count ? p->count[g] : p->taps, j = 0;
      if (taps == 0) { /* of a sum */
        memset(dst, 0, (size_t)p->length * sizeof(REAL));
        continue;
      }
      for (; j + 2 < vectors; j += 4)
        fold_tile(p, src + j * VBYTES, taps, dst + j * VBYTES, 4, kind);
      for (; j < vectors; j++)
        fold_tile(p, src + j * VBYTES, taps, dst + j * VBYTES, 1, kind);
    }
  }
}

/* ---------------------------------------------------------------- taps of single elements */

/* A vector of groups: where their taps begin, and how many they are. */
typedef struct fold_lanes {
  const char *src[VL];
  lanes count;
  int64_t most;
} fold_lanes;

enum { FETCHED = 4 * VL }; /* taps at once, at most */

/* Taps first..first+n-1 of each group, and their codes, a vector of groups at a time; what is neutral where a group has
 * none. Those that follow one another in memory are transposed. Not inlined: folds of all kinds share it. */
static __attribute__((noinline)) void CK_NAME(pool_fetch)(const ck_pool_fold *p, const fold_lanes *l, int64_t first,
                                                          int64_t n, lanes *to, lanes *codes) {
  enum { FEW = 2 };
  const int64_t size = sizeof(REAL), piece = p->tap_step == size && l->most > FEW ? VL : 1;
  const vreal neutral = v_set1(p->op == CK_POOL_SUM ? 0 : -(REAL)INFINITY);
  for (int64_t t = 0; t < n; t += piece) {
    const int64_t offset = (first + t) * p->tap_step;
    if (piece > 1) {
      vreal r[VL];
      CK_UNROLL
      for (int q = 0; q < VL; q++)
        r[q] = v_loadu(l->src[q] + offset);
      transpose(r);
      memcpy(to + t, r, sizeof(r));
    }
    CK_ROLLED
    for (int q = 0; q < VL && piece == 1; q++)
      to[t].real[q] = *(const real_u *)(l->src[q] + offset);
  }
  for (int64_t t = 0; t < n && p->count; t++)
    to[t].v = v_select(l->count.m > (lane_int)(first + t), to[t].v, neutral);
  for (int64_t t = 0; t < n && p->coded; t++) {
    CK_ROLLED
    for (int q = 0; q < VL; q++)
      memcpy(&codes[t].integer[q], l->src[q] + (first + t) * p->tap_step + p->codes, sizeof(lane_int));
  }
}

CK_INLINE void fold_lanes_of(const ck_pool_fold *p, const fold_lanes *l, char *dst, const fold_kind kind) {
  lanes taps[FETCHED + VL], codes[FETCHED];
  vmask from = {0};
  vreal v = {0};
  for (int64_t first = 0; first < l->most; first += FETCHED) {
    const int64_t n = l->most - first < FETCHED ? l->most - first : FETCHED;
    CK_NAME(pool_fetch)(p, l, first, n, taps, codes);
    for (int64_t t = 0; t < n; t++) {
      vmask code = (lane_int)((first + t) * p->code_step) - (vmask){0};
      if (kind.coded)
        code += codes[t].m;
      if (first + t == 0) {
        v = taps[0].v;
        from = code;
      } else
        fold_next(kind, &v, &from, taps[t].v, code);
    }
  }
  v_storeu(dst, v);
  if (kind.stored)
    memcpy(dst + p->codes, &from, sizeof(from));
}

/* The groups from element i on, the first of which is group *g of *line. */
static __attribute__((noinline)) void CK_NAME(pool_groups)(const ck_pool_fold *p, int64_t i, int64_t *g,
                                                           const char **line, fold_lanes *l) {
  const int64_t all = p->lines * p->groups;
  l->most = 0;
  CK_ROLLED
  for (int q = 0; q < VL; q++) {
    int64_t taps = p->count ? p->count[*g] : p->taps;
    l->src[q] = *line + (p->first ? p->first[*g] : *g) * p->src_group;
    l->count.integer[q] = (lane_int)taps;
    l->most = taps > l->most ? taps : l->most;
    if (i + q + 1 < all && ++*g == p->groups) { /* after the last one, that again */
      *g = 0;
      *line += p->src_line;
    }
  }
}

CK_INLINE void fold_elements(const ck_pool_fold *p, const fold_kind kind) {
  const int64_t all = p->lines * p->groups;
  const char *line = p->src;
  for (int64_t i = 0, g = 0; i < all; i += VL) {
    fold_lanes l;
    CK_NAME(pool_groups)(p, i, &g, &line, &l);
    fold_lanes_of(p, &l, p->dst + i * (int64_t)sizeof(REAL), kind);
  }
}

/* The call's copy is of our own: what is stored cannot change it, as far as the compiler sees. */
CK_INLINE void fold_any(const ck_pool_fold *call, const int op, const int indexed, const int coded) {
  const ck_pool_fold p = *call;
  const fold_kind kind = {op, indexed, coded, op == CK_POOL_LARGER_OR_NAN ? p.indexed : indexed};
  if (p.length == 1 && p.rows <= 1 && !p.offset)
    fold_elements(&p, kind);
  else
    fold_rows(&p, kind);
}

static void CK_NAME(pool_fold)(const ck_pool_fold *p) {
  if (p->op == CK_POOL_SUM)
    fold_any(p, CK_POOL_SUM, 0, 0);
  else if (p->op == CK_POOL_LARGER && !p->indexed)
    fold_any(p, CK_POOL_LARGER, 0, 0);
  else if (p->op == CK_POOL_LARGER && !p->coded)
    fold_any(p, CK_POOL_LARGER, 1, 0);
  else if (p->op == CK_POOL_LARGER)
    fold_any(p, CK_POOL_LARGER, 1, 1);
  else /* rare: one for all saves code */
    fold_any(p, CK_POOL_LARGER_OR_NAN, 1, p->coded);
}

/* Whole vectors are written past a line's end, over what comes next. */
static void CK_NAME(pool_join)(void *dst, const void *from, int64_t phases, int64_t lines, int64_t n) {
  const int64_t length = (n + phases - 1) / phases, phase = lines * length;
  REAL *to = dst;
  const REAL *src = from;
  for (int64_t line = 0; line < lines; line++, to += n, src += length) {
    for (int64_t i = 0; i < length && phases == 2; i += VL) {
      vreal even = v_loadu(src + i), odd = v_loadu(src + phase + i);
      v_storeu(to + 2 * i, SHUFFLE(even, odd, INTERLEAVE));
      v_storeu(to + 2 * i + VL, SHUFFLE(even, odd, INTERLEAVE_HIGH));
    }
    for (int64_t f = 0; f < phases && phases != 2; f++)
      for (int64_t i = 0; i * phases + f < n; i++)
        to[i * phases + f] = src[f * phase + i];
  }
}

/* ---------------------------------------------------------------- from user memory and back */

CK_INLINE void fill(REAL *to, int64_t count, vreal v) {
  for (int64_t j = 0; j < count; j += VL)
    v_storeu(to + j, v);
}

/* The last `left` < VL elements of a row, and neutral ones after them. */
CK_INLINE vreal stage_last(const char *src, int64_t left, const ck_pool_stage *p, vreal *seen) {
  const vmask inside = lanes_below(left);
  vreal v = left > 0 ? load_upto(src, left, p->end) : (vreal){0};
  *seen = note_nonfinite(*seen, v_select(inside, v, (vreal){0}));
  return v_select(inside, v, v_set1((REAL)p->neutral));
}

CK_INLINE void stage_run(REAL *to, const char *src, int64_t count, const ck_pool_stage *p, vreal *seen) {
  for (; count >= VL; count -= VL, src += VBYTES, to += VL) {
    vreal v = v_loadu(src);
    *seen = note_nonfinite(*seen, v);
    v_storeu(to, v);
  }
  if (count > 0)
    v_storeu(to, stage_last(src, count, p, seen));
}

/* Neighbouring elements, every second one to either of two rows. */
CK_INLINE void stage_halves(REAL *even, REAL *odd, const char *src, int64_t count, const ck_pool_stage *p,
                            vreal *seen) {
  vreal a, b;
  for (; count >= 2 * VL; count -= 2 * VL, src += 2 * VBYTES, even += VL, odd += VL) {
    split_pair(src, &a, &b);
    *seen = note_nonfinite(note_nonfinite(*seen, a), b);
    v_storeu(even, a);
    v_storeu(odd, b);
  }
  if (count > 0) {
    a = count >= VL ? v_loadu(src) : stage_last(src, count, p, seen);
    b = stage_last(src + VBYTES, count - VL, p, seen);
    if (count >= VL)
      *seen = note_nonfinite(*seen, a);
    v_storeu(even, SHUFFLE(a, b, EVEN));
    v_storeu(odd, SHUFFLE(a, b, ODD));
  }
}

/* Positions that don't follow one another. */
CK_INLINE void stage_positions(REAL *to, const char *src, const ck_pool_stage *p, vreal *seen) {
  REAL sum = 0;
  for (int64_t i = 0, r = p->phase; i < p->positions; i++, to += p->inner, src += p->step) {
    if (p->inner == 1) {
      *to = *(const real_u *)src;
      sum += *to * 0;
    } else
      stage_run(to, src, p->inner, p, seen);
    if (++r == p->run) {
      src += p->jump;
      r = 0;
    }
  }
  *seen = note_nonfinite(*seen, v_set1(sum));
}

CK_INLINE void stage_line(REAL *to, const char *src, const ck_pool_stage *p, vreal *seen) {
  const int64_t held = src ? p->positions * p->inner : 0, lead = src ? p->lead : 0;
  const vreal neutral = v_set1((REAL)p->neutral);
  fill(to, lead, neutral);
  if (held && p->step == p->inner * (int64_t)sizeof(REAL) && !p->run)
    stage_run(to + lead, src, held, p, seen);
  else if (held)
    stage_positions(to + lead, src, p, seen);
  if (lead + held < p->line)
    fill(to + lead + held, p->line - lead - held, neutral);
}

/* The line's even positions, and `odd` elements after them its odd ones. */
CK_INLINE void stage_split(REAL *even, const char *src, const ck_pool_stage *p, vreal *seen) {
  const int64_t held = src ? p->positions : 0, lead = src ? p->lead : 0, end = lead + held;
  const int together = p->step == sizeof(REAL) && !p->run;
  const vreal neutral = v_set1((REAL)p->neutral);
  REAL *odd = even + p->odd, *half[2] = {even, odd};
  fill(even, (lead + 1) / 2, neutral);
  fill(odd, lead / 2, neutral);
  if (together)
    stage_halves(half[lead & 1] + lead / 2, half[~lead & 1] + (lead + 1) / 2, src, held, p, seen);
  for (int64_t i = 0, r = p->phase; i < held && !together; i++, src += p->step) {
    REAL v = *(const real_u *)src;
    half[(lead + i) & 1][(lead + i) / 2] = v;
    *seen = note_nonfinite(*seen, v_set1(v));
    if (++r == p->run) {
      src += p->jump;
      r = 0;
    }
  }
  fill(even + (end + 1) / 2, p->line / 2 - (end + 1) / 2, neutral);
  fill(odd + end / 2, p->line / 2 - end / 2, neutral);
}

static int CK_NAME(pool_stage)(const ck_pool_stage *call) {
  const ck_pool_stage p = *call;
  vreal seen = {0};
  REAL *to = p.dst;
  for (int64_t line = 0; line < p.lines; line++, to += p.odd ? p.line / 2 : p.line) {
    if (p.odd)
      stage_split(to, p.row[line], &p, &seen);
    else
      stage_line(to, p.row[line], &p, &seen);
  }
  fill(to, p.lead, v_set1((REAL)p.neutral));
  if (p.odd)
    fill(to + p.odd, p.lead, v_set1((REAL)p.neutral));
  return any_nonfinite(seen);
}

static int CK_NAME(pool_scan)(const char *src, int64_t lines, int64_t line, int64_t count) {
  vreal seen[4] = {{0}}; /* one alone would wait for itself */
  for (; lines > 0; lines--, src += line) {
    const char *at = src;
    for (int64_t left = count; left > 0; left -= 4 * VL, at += 4 * VBYTES) {
      CK_UNROLL
      for (int q = 0; q < 4; q++)
        seen[q] = note_nonfinite(seen[q], v_loadu(at + (q * VL < left ? q * VBYTES : 0)));
    }
  }
  return any_nonfinite(seen[0] + seen[1] + (seen[2] + seen[3]));
}

/* An element as it is stored: divided by what it is the sum of, zeros positive. */
#define FINISHED(v, divisor) (p->scale ? ((v) + 0) / (divisor) : (v))

CK_INLINE vreal finished(const ck_pool_finish *p, const REAL *src, int64_t j, REAL scale) {
  const REAL *divisor = p->divisor;
  return FINISHED(v_loadu(src + j), divisor ? scale * v_loadu(divisor + j) : v_set1(scale * (REAL)p->even));
}

/* Neighbours from element `first` of a row on; whole vectors may be stored up to `end`. */
CK_INLINE void finish_run(const ck_pool_finish *p, const REAL *src, int64_t first, int64_t count, char *dst,
                          const char *end, REAL scale) {
  const int64_t size = sizeof(REAL), whole = count / VL * VL;
  for (int64_t j = 0; j < whole; j += VL)
    v_storeu(dst + j * size, finished(p, src, first + j, scale));
  if (whole == count)
    return;
  if (dst + (whole + VL) * size <= end) /* over what follows, which comes later */
    v_storeu(dst + whole * size, finished(p, src, first + whole, scale));
  else if (whole > 0)
    v_storeu(dst + (count - VL) * size, finished(p, src, first + count - VL, scale));
  else
    store_part(dst, finished(p, src, first, scale), count);
}

CK_INLINE void finish_row(const ck_pool_finish *p, const REAL *src, char *dst, REAL scale) {
  const int64_t size = sizeof(REAL), inner = p->inner;
  const REAL *divisor = p->divisor;
  if (p->dst_inner == size && p->dst_position == inner * size) {
    finish_run(p, src, 0, p->positions * inner, dst, p->dst_end, scale);
    return;
  }
  for (int64_t i = 0; i < p->positions; i++, dst += p->dst_position) {
    if (p->dst_inner == size && inner >= VL) { /* some of a position's channels */
      finish_run(p, src, i * inner, inner, dst, NULL, scale);
      continue;
    }
    for (int64_t c = 0; c < inner; c++)
      *(real_u *)(dst + c * p->dst_inner) =
          FINISHED(src[i * inner + c], scale * (divisor ? divisor[i * inner + c] : (REAL)p->even));
  }
}

static void CK_NAME(pool_finish)(const ck_pool_finish *call) {
  const ck_pool_finish p = *call;
  for (int64_t i = 0; i < p.planes; i++)
    for (int64_t r = 0; r < p.rows; r++)
      finish_row(&p, (const REAL *)(p.src + i * p.src_plane + r * p.src_row), p.dst + i * p.dst_plane + r * p.dst_row,
                 p.scale ? (REAL)p.scale[r] : 1);
}

typedef int64_t long_u __attribute__((may_alias, aligned(1)));
typedef lane_int code_u __attribute__((may_alias, aligned(1)));

/* `count` indices in a row, and whether one is unknown. */
CK_INLINE int index_run(const REAL *value, const char *codes, char *dst, const int64_t dst_step, int64_t count,
                        int64_t origin, int64_t step) {
  const code_u *code = (const code_u *)codes;
  lane_int unknown = 0;
  for (int64_t j = 0; j < count; j++, origin += step) {
    lane_int lost = value[j] == -(REAL)INFINITY;
    *(long_u *)(dst + j * dst_step) = lost ? CK_POOL_UNKNOWN : origin + code[j];
    unknown |= lost;
  }
  return unknown != 0;
}

CK_INLINE int index_row(const ck_pool_indices *p, const REAL *value, char *dst, int64_t dst_step, int64_t count,
                        int64_t origin, int64_t step) {
  const char *codes = (const char *)value + p->codes;
  if (dst_step == sizeof(int64_t))
    return index_run(value, codes, dst, sizeof(int64_t), count, origin, step);
  return index_run(value, codes, dst, dst_step, count, origin, step);
}

static int CK_NAME(pool_indices)(const ck_pool_indices *p) {
  int unknown = 0;
  if (p->inner == 1 && !p->first)
    return index_row(p, p->value, p->dst, p->dst_position, p->positions, p->origin, p->step);
  for (int64_t i = 0; i < p->positions; i++)
    unknown |= index_row(p, (const REAL *)p->value + i * p->inner, p->dst + i * p->dst_position, p->dst_inner, p->lanes,
                         p->origin + (p->first ? p->first[i] : i * p->step), 0);
  return unknown;
}

static void CK_NAME(pool_merge)(void *a, int64_t *a_index, const void *b, const int64_t *b_index, int64_t count) {
  REAL *to = a;
  const REAL *from = b;
  for (int64_t i = 0; i < count; i++) {
    int wins = (from[i] > to[i]) | (from[i] != from[i]);
    to[i] = wins ? from[i] : to[i];
    a_index[i] = wins ? b_index[i] : a_index[i];
  }
}

#endif
