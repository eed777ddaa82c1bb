/* The drain: bias, bounds and store.  An activation that is more than a bound has been applied to the sums before, by
 * `activate_sums`: here it would be code for each of a tile's vectors. */
#ifndef CK_DRAIN_H
#define CK_DRAIN_H

#include "activation.h"
#include "transpose.h"

typedef struct CK_NAME(bounds) {
  vreal lo, hi;
} CK_NAME(bounds);

CK_INLINE CK_NAME(bounds) bounds_of(const ck_drain *p) {
  const ck_bounds of = p->bounds ? *p->bounds : ck_bounds_of(CK_IDENTITY, 0, 0);
  return (CK_NAME(bounds)){v_set1((REAL)of.low), v_set1((REAL)of.high)};
}

CK_INLINE vreal bounded(const CK_NAME(bounds) * bounds, vreal v) { return v_within(bounds->lo, bounds->hi, v); }

CK_INLINE vreal no_bias(const ck_drain *p) { return v_set1(p->copy ? (REAL)-0.0 : 0); }

CK_INLINE vreal bias_of_lanes(const ck_drain *p, int64_t lane) {
  return p->bias ? v_load((const REAL *)p->bias + lane) : no_bias(p);
}

CK_INLINE vreal bias_of_lane(const ck_drain *p, int64_t lane) {
  return p->bias ? v_set1(((const REAL *)p->bias)[lane]) : no_bias(p);
}

/* ((sum + bias) + what is there), bounded. Without a bias +0 is added: no sum is stored as -0. */
CK_INLINE void put(const ck_drain *p, const CK_NAME(bounds) * bounds, char *dst, vreal v, int64_t n) {
  if (n >= VL)
    v_storeu(dst, bounded(bounds, p->add ? v_loadu(dst) + v : v));
  else
    store_part(dst, bounded(bounds, p->add ? load_part(dst, n) + v : v), n);
}

/* n of them `step` bytes apart: pixels of a gradient's phase of a strided convolution, or lanes of one pixel. */
CK_INLINE void put_strided(const ck_drain *p, const CK_NAME(bounds) * bounds, char *dst, int64_t step, vreal v,
                           int64_t n) {
  lanes there = {{0}}, u;
  for (int64_t i = 0; i < n && p->add; i++)
    there.real[i] = *(const real_u *)(dst + i * step);
  u.v = bounded(bounds, p->add ? there.v + v : v);
  for (int64_t i = 0; i < n; i++, dst += step)
    *(real_u *)dst = u.real[i];
}

/* Pixels as lanes, and lanes as pixels. */
CK_INLINE ck_drain turned_about(const ck_drain *p) {
  ck_drain turned = *p;
  turned.c_pixel = p->c_lane;
  turned.dst_pixel = p->dst_lane;
  turned.dst_lane = p->dst_pixel;
  turned.count = p->lanes;
  turned.lanes = p->count;
  return turned;
}

/* Scratch [pixel][lane] to a row of pixels for each lane, or [lane][pixel] to the lanes of each pixel: transposed. The
 * last block overlaps the one before, unless it adds, when nothing may be touched twice; of the second kind none does.
 * That kind is for half a vector of lanes and more: of six, stored one after the other as drain_any does, each would
 * touch the lines of all pixels, and took 2.7 times as long (Zen 3). */
static void CK_NAME(drain_transposed)(const ck_drain *given) {
  const CK_NAME(bounds) bounds = bounds_of(given);
  const int turned = given->c_pixel == 1, once = given->add || turned;
  const ck_drain about = turned_about(given), *p = turned ? &about : given;
  const int adjacent = p->dst_pixel == sizeof(REAL) && !once;
  const int is_bounded = p->bounds && (p->bounds->low > -INFINITY || p->bounds->high < INFINITY);
  const vreal none = v_set1((REAL)-0.0);
  for (int64_t j = 0; j < p->lanes; j += VL) {
    int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
    const vreal bias = turned ? none : bias_of_lanes(p, j);
    for (int64_t next = 0; next < p->count; next += VL) {
      int64_t x = p->count >= VL && next + VL > p->count && !once ? p->count - VL : next;
      int64_t count = p->count - x < VL ? p->count - x : VL;
      const REAL *c = (const REAL *)p->c + x * p->c_pixel + j;
      vreal r[VL];
      /* As many streams as lanes are more than the machine follows by itself: without this, 8 % of a 64-channel layer.
       */
      char *ahead = p->dst + j * p->dst_lane + (x + 4 * VL) * p->dst_pixel;
      for (int64_t q = 0; q < lanes && !turned; q++)
        __builtin_prefetch(ahead + q * p->dst_lane, 1);
      if (adjacent && lanes == VL && count == VL) { /* without a test of each */
        CK_UNROLL
        for (int64_t q = 0; q < VL; q++)
          r[q] = v_load(c + q * p->c_pixel) + bias;
        CK_UNROLL
        for (int64_t q = 0; q < VL && is_bounded; q++)
          r[q] = bounded(&bounds, r[q]);
        transpose(r);
        char *dst = p->dst + j * p->dst_lane + x * (int64_t)sizeof(REAL);
        CK_UNROLL
        for (int64_t q = 0; q < VL; q++, dst += p->dst_lane)
          v_storeu(dst, r[q]);
        continue;
      }
      CK_UNROLL
      for (int64_t q = 0; q < VL; q++) /* of fewer the last one again, which takes no branch */
        r[q] = v_loadu(c + (q < count ? q : count - 1) * p->c_pixel) + bias;
      transpose(r);
      const vreal after = turned ? bias_of_lanes(p, x) : none;
      char *dst = p->dst + j * p->dst_lane + x * p->dst_pixel;
      for (int64_t q = 0; q < lanes; q++, dst += p->dst_lane) {
        if (p->dst_pixel == sizeof(REAL))
          put(p, &bounds, dst, r[q] + after, count);
        else
          put_strided(p, &bounds, dst, p->dst_pixel, r[q] + after, count);
      }
    }
  }
}

/* The same for a few pixels whose lanes follow each other without a gap, as the taps of a weight do: the rows, shorter
 * than a vector, are joined first. */
static void CK_NAME(drain_joined)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  REAL joined[VL * VL] __attribute__((aligned(VBYTES)));
  for (int64_t j = 0; j < p->lanes; j += VL) {
    int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
    const vreal bias = bias_of_lanes(p, j);
    const REAL *c = (const REAL *)p->c + j;
    char *dst = p->dst + j * p->dst_lane;
    vreal r[VL];
    CK_UNROLL
    for (int64_t q = 0; q < VL; q++)
      r[q] = v_load(c + (q < p->count ? q : p->count - 1) * p->c_pixel) + bias;
    transpose(r);
    for (int64_t q = 0; q < lanes; q++) /* each writes over what the one before has too much */
      v_storeu(joined + q * p->count, r[q]);
    for (int64_t i = 0; i < lanes * p->count; i += VL)
      put(p, &bounds, dst + i * (int64_t)sizeof(REAL), v_load(joined + i), lanes * p->count - i);
  }
}

/* Scratch [pixel][lane] to lanes adjacent in memory. */
static void CK_NAME(drain_lanes)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t x = 0; x < p->count; x++) {
    for (int64_t j = 0; j < p->lanes; j += VL) {
      vreal v = v_load((const REAL *)p->c + x * p->c_pixel + j);
      v += bias_of_lanes(p, j);
      put(p, &bounds, p->dst + x * p->dst_pixel + j * (int64_t)sizeof(REAL), v, p->lanes - j);
    }
  }
}

/* Scratch [lane][pixel] to pixels adjacent in memory. */
static void CK_NAME(drain_rows)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t j = 0; j < p->lanes; j++) {
    const vreal bias = bias_of_lane(p, j);
    const REAL *c = (const REAL *)p->c + j * p->c_lane;
    for (int64_t x = 0; x < p->count; x += VL)
      put(p, &bounds, p->dst + j * p->dst_lane + x * (int64_t)sizeof(REAL), v_loadu(c + x) + bias, p->count - x);
  }
}

/* One pixel of lanes that lie apart. Lane by lane it took 35 % of a layer whose blocks are single pixels, 64 to 128
 * channels, 4x4 to 2x2 (Zen 4). */
static void CK_NAME(drain_pixel)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t j = 0; j < p->lanes; j += VL) {
    const vreal v = v_load((const REAL *)p->c + j) + bias_of_lanes(p, j);
    put_strided(p, &bounds, p->dst + j * p->dst_lane, p->dst_lane, v, p->lanes - j < VL ? p->lanes - j : VL);
  }
}

/* What is left, one lane at a time: gathered in scratch, finished, scattered. */
static void CK_NAME(drain_any)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t j = 0; j < p->lanes; j++) {
    const vreal bias = bias_of_lane(p, j);
    const REAL *c = (const REAL *)p->c + j * p->c_lane;
    char *dst = p->dst + j * p->dst_lane;
    for (int64_t x = 0; x < p->count; x += VL) {
      int64_t count = p->count - x < VL ? p->count - x : VL;
      vreal v = {0};
      for (int64_t q = 0; q < count; q++)
        v[q] = c[(x + q) * p->c_pixel];
      put_strided(p, &bounds, dst + x * p->dst_pixel, p->dst_pixel, v + bias, count);
    }
  }
}

/* Pixels adjacent in memory, whose lanes lie anywhere in scratch. A vector of lanes at a time: of more, whose rows may
 * lie a multiple of 4096 bytes apart, lines that are half stored would leave level 1 (1x1 with a stride of 2, gradients
 * of x of 128x128, took 1.3 times as long, Zen 3). */
static void CK_NAME(drain_places)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t j = 0; j < p->lanes; j += VL) {
    const int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
    const vreal bias = bias_of_lanes(p, j);
    const char *c = (const char *)((const REAL *)p->c + j);
    for (int64_t x = 0; x < p->count; x += VL) {
      const int64_t count = p->count - x < VL ? p->count - x : VL;
      char *dst = p->dst + j * p->dst_lane + x * (int64_t)sizeof(REAL);
      vreal r[VL];
      CK_UNROLL
      for (int64_t q = 0; q < VL; q++)
        r[q] = v_load(c + p->places[x + (q < count ? q : 0)]) + bias;
      transpose(r);
      for (int64_t q = 0; q < lanes; q++, dst += p->dst_lane)
        put(p, &bounds, dst, r[q], count);
    }
  }
}

/* Element j of the v-th vector of three rows in turn: out of the first two rows, then out of these and the third. */
#define THREE_FIRST(j, e) ((e) % 3 == 2 ? (j) : (e) % 3 * VL + (e) / 3)
#define THREE_LAST(j, e) ((e) % 3 == 2 ? VL + (e) / 3 : (j))
#define THREE_FIRST_0(j) THREE_FIRST(j, j)
#define THREE_FIRST_1(j) THREE_FIRST(j, (j) + VL)
#define THREE_FIRST_2(j) THREE_FIRST(j, (j) + 2 * VL)
#define THREE_LAST_0(j) THREE_LAST(j, j)
#define THREE_LAST_1(j) THREE_LAST(j, (j) + VL)
#define THREE_LAST_2(j) THREE_LAST(j, (j) + 2 * VL)

/* A vector of each of two, three or four rows, in turn. */
CK_INLINE void interleave_two(vreal x, vreal y, vreal *to) {
  to[0] = SHUFFLE(x, y, INTERLEAVE);
  to[1] = SHUFFLE(x, y, INTERLEAVE_HIGH);
}

CK_INLINE void interleave(int phases, const vreal *r, vreal *to) {
  if (phases == 2) {
    interleave_two(r[0], r[1], to);
  } else if (phases == 3) {
    to[0] = SHUFFLE(SHUFFLE(r[0], r[1], THREE_FIRST_0), r[2], THREE_LAST_0);
    to[1] = SHUFFLE(SHUFFLE(r[0], r[1], THREE_FIRST_1), r[2], THREE_LAST_1);
    to[2] = SHUFFLE(SHUFFLE(r[0], r[1], THREE_FIRST_2), r[2], THREE_LAST_2);
  } else {
    vreal even[2], odd[2];
    interleave_two(r[0], r[2], even);
    interleave_two(r[1], r[3], odd);
    interleave_two(even[0], odd[0], to);
    interleave_two(even[1], odd[1], to + 2);
  }
}

/* Rows of two to four pixels: of a vector of lanes interleaved, and then stored run by run. */
CK_INLINE void drain_short(const ck_drain *p, const int count) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  const int64_t run = count * (int64_t)sizeof(REAL);
  vreal r[4], row[4];
  for (int64_t j = 0; j < p->lanes; j += VL) {
    const int64_t lanes = p->lanes - j < VL ? p->lanes - j : VL;
    const vreal bias = bias_of_lanes(p, j);
    const REAL *c = (const REAL *)p->c + j;
    char *dst = p->dst + j * p->dst_lane;
    CK_UNROLL
    for (int q = 0; q < count; q++)
      r[q] = bounded(&bounds, v_load(c + q * p->c_pixel) + bias);
    interleave(count, r, row);
    for (int64_t q = 0; q < lanes; q++, dst += p->dst_lane)
      __builtin_memcpy(dst, (const char *)row + q * run, run);
  }
}

static void CK_NAME(drain_short_rows)(const ck_drain *p) {
  if (p->count == 2)
    drain_short(p, 2);
  else if (p->count == 3)
    drain_short(p, 3);
  else
    drain_short(p, 4);
}

static void CK_NAME(drain_one)(const ck_drain *p) {
  const int64_t size = sizeof(REAL);
  if (p->c_pixel == 1 && p->dst_pixel == size)
    CK_NAME(drain_rows)(p);
  else if (p->c_pixel == 1 && p->dst_lane == size && 2 * p->lanes >= VL)
    CK_NAME(drain_transposed)(p);
  else if (p->c_pixel == 1)
    CK_NAME(drain_any)(p);
  else if (p->dst_lane == size && p->lanes > 1)
    CK_NAME(drain_lanes)(p);
  else if (p->count > 1 && p->count < VL && p->dst_pixel == size && p->dst_lane == p->count * size)
    CK_NAME(drain_joined)(p);
  else if (p->count > 1 && p->count <= 4 && p->dst_pixel == size && VL > 4 && !p->add)
    CK_NAME(drain_short_rows)(p);
  else if (p->count > 1)
    CK_NAME(drain_transposed)(p);
  else
    CK_NAME(drain_pixel)(p);
}

/* Scratch [lane][pixel] of a few phases, pixels adjacent in memory: interleaved in registers. Whole vectors are read,
 * also after a phase's last pixel. */
CK_INLINE void drain_few(const ck_drain *p, int phases) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  for (int64_t j = 0; j < p->lanes; j++) {
    const vreal bias = bias_of_lane(p, j);
    const char *c = (const char *)((const REAL *)p->c + j * p->c_lane);
    char *dst = p->dst + j * p->dst_lane;
    for (int64_t x = 0; x < p->count; x += phases * VL, c += VBYTES, dst += phases * VBYTES) {
      vreal r[4], row[4];
      CK_UNROLL
      for (int f = 0; f < phases; f++)
        r[f] = v_loadu(c + f * p->c_phase) + bias;
      interleave(phases, r, row);
      CK_UNROLL
      for (int f = 0; f < phases; f++)
        if (x + f * VL < p->count)
          put(p, &bounds, dst + f * VBYTES, row[f], p->count - x - f * VL);
    }
  }
}

/* The same of more phases, by way of a row in scratch. */
static void CK_NAME(drain_many)(const ck_drain *p) {
  const CK_NAME(bounds) bounds = bounds_of(p);
  enum { ROOM = 32 * VL };
  REAL row[ROOM] __attribute__((aligned(VBYTES)));
  const int64_t span = ROOM / (p->phases * VL) * p->phases * VL;
  for (int64_t j = 0; j < p->lanes; j++) {
    const vreal bias = bias_of_lane(p, j);
    for (int64_t x = 0; x < p->count; x += span) {
      const int64_t count = p->count - x < span ? p->count - x : span;
      const char *c = (const char *)((const REAL *)p->c + j * p->c_lane + x / p->phases);
      for (int64_t f = 0; f < p->phases; f++, c += p->c_phase) {
        const REAL *from = (const REAL *)c;
        for (int64_t i = f; i < count; i += p->phases)
          row[i] = *from++;
      }
      char *dst = p->dst + j * p->dst_lane + x * p->dst_pixel;
      for (int64_t i = 0; i < count; i += VL)
        put(p, &bounds, dst + i * (int64_t)sizeof(REAL), v_load(row + i) + bias, count - i);
    }
  }
}

static void CK_NAME(drain_interleaved)(const ck_drain *p) {
  if (p->phases == 2)
    drain_few(p, 2);
  else if (p->phases == 3)
    drain_few(p, 3);
  else if (p->phases == 4)
    drain_few(p, 4);
  else
    CK_NAME(drain_many)(p);
}

static void CK_NAME(drain)(const ck_drain *p) {
  if (p->places) {
    CK_NAME(drain_places)(p);
    return;
  }
  if (p->phases <= 1) {
    CK_NAME(drain_one)(p);
    return;
  }
  if (p->c_pixel == 1 && p->dst_pixel == sizeof(REAL) && p->phases <= 2 * VL) {
    CK_NAME(drain_interleaved)(p);
    return;
  }
  for (int64_t f = 0; f < p->phases && f < p->count; f++) {
    ck_drain one = *p;
    one.c = (const char *)p->c + f * p->c_phase;
    one.dst += f * p->dst_pixel;
    one.dst_pixel *= p->phases;
    one.count = (p->count - f - 1) / p->phases + 1;
    CK_NAME(drain_one)(&one);
  }
}

CK_INLINE void add_bias(REAL *c, int64_t count, int64_t step, vreal bias) {
  for (int64_t i = 0; i < count; i++, c += step)
    v_storeu(c, v_loadu(c) + bias);
}

/* Adds the bias to rows of sums and applies an activation, in place: a block that level 1 holds at a time. */
static void CK_NAME(activate_sums)(const ck_sums *p) {
  const int64_t rows = 2048 / p->ld + 1, whole = p->ld / VL, rest = p->ld % VL;
  REAL *c = p->c;
  for (int64_t first = 0; first < p->rows; first += rows, c += rows * p->ld) {
    const int64_t count = p->rows - first < rows ? p->rows - first : rows;
    for (int64_t j = 0; j < whole && p->bias && !p->bias_of_row; j++)
      add_bias(c + j * VL, count, p->ld, v_load((const REAL *)p->bias + j * VL));
    for (int64_t i = 0; i < count && p->bias && p->bias_of_row; i++) {
      const REAL bias = ((const REAL *)p->bias)[first + i];
      add_bias(c + i * p->ld, whole, VL, v_set1(bias));
      for (int64_t j = p->ld - rest; j < p->ld; j++)
        c[i * p->ld + j] += bias;
    }
    CK_NAME(activate)(c, c, count * p->ld, p->activation, p->a, p->b);
  }
}

#endif
