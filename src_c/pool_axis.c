/* The arithmetic of pooling windows along one axis; every size and product of the callers' fits 64 bits. */
#include "pool_axis.h"

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

/* floor and ceiling for any sign of a */
static int64_t div_floor(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t div_ceil(int64_t a, int64_t b) { return a / b + (a % b > 0); }

/* floor(a * b / c): the product may need more than 64 bits, the result does not. */
static int64_t scaled(int64_t a, int64_t b, int64_t c, int up) {
  __int128 product = (__int128)a * b;
  return (int64_t)((product + (up ? c - 1 : 0)) / c);
}

ck_pool_axis ck_pool_axis_make(const ck_pool_shape *s, int d) {
  ck_pool_axis axis = {.in = s->in[d], .out = s->out[d], .adaptive = s->adaptive, .count_pad = s->count_pad};
  if (s->adaptive)
    return axis;
  axis.kernel = s->kernel[d];
  axis.stride = s->stride[d];
  axis.dilation = s->dilation[d];
  axis.lo = s->pad_lo[d];
  axis.hi = s->pad_hi[d];
  int64_t common = gcd(axis.stride, axis.dilation);
  axis.tap_step = axis.stride / common;
  axis.out_step = axis.dilation / common;
  return axis;
}

/* Taps of output o that lie before coordinate `end`, and in the image or after its start. */
static int64_t taps_before(const ck_pool_axis *a, int64_t o, int64_t end) {
  return ck_max(0, ck_min(a->kernel, div_ceil(end - (o * a->stride - a->lo), a->dilation)));
}

ck_progression ck_pool_window(const ck_pool_axis *a, int64_t o) {
  if (a->adaptive) {
    int64_t first = scaled(o, a->in, a->out, 0);
    return (ck_progression){first, 1, scaled(o + 1, a->in, a->out, 1) - first};
  }
  int64_t start = o * a->stride - a->lo, skipped = start < 0 ? ck_ceil_div(-start, a->dilation) : 0;
  int64_t count = taps_before(a, o, a->in) - skipped;
  return (ck_progression){start + skipped * a->dilation, a->dilation, ck_max(0, count)};
}

int64_t ck_pool_divisor(const ck_pool_axis *a, int64_t o) {
  if (!a->adaptive && a->count_pad)
    return ck_max(1, taps_before(a, o, a->in + a->hi));
  return ck_max(1, ck_pool_window(a, o).count);
}

ck_progression ck_pool_covers(const ck_pool_axis *a, int64_t i) {
  ck_progression none = {0, 1, 0};
  if (a->adaptive) {
    int64_t first = scaled(i, a->out, a->in, 0);
    return (ck_progression){first, 1, scaled(i + 1, a->out, a->in, 1) - first};
  }
  /* Tap t of output o is here where o * stride = q - t * dilation: the last such tap belongs to the first output. */
  int64_t q = i + a->lo, last = ck_min(a->kernel - 1, q / a->dilation);
  int64_t first = ck_max(0, div_ceil(q - (a->out - 1) * a->stride, a->dilation));
  for (int64_t tried = 0; tried < a->tap_step && last >= first; tried++, last--) {
    if ((q - last * a->dilation) % a->stride == 0)
      return (ck_progression){(q - last * a->dilation) / a->stride, a->out_step, (last - first) / a->tap_step + 1};
  }
  return none;
}

ck_progression ck_pool_clip(ck_progression p, int64_t lo, int64_t hi) {
  int64_t before = p.first < lo ? ck_ceil_div(lo - p.first, p.step) : 0;
  int64_t count = p.first < hi ? ck_min(p.count, ck_ceil_div(hi - p.first, p.step)) : 0;
  return (ck_progression){p.first + before * p.step, p.step, ck_max(0, count - before)};
}

void ck_pool_inputs(const ck_pool_axis *a, int64_t o0, int64_t n, int64_t *lo, int64_t *hi) {
  if (a->adaptive) {
    *lo = scaled(o0, a->in, a->out, 0);
    *hi = scaled(o0 + n, a->in, a->out, 1);
    return;
  }
  *lo = ck_max(0, o0 * a->stride - a->lo);
  *hi = ck_min(a->in, (o0 + n - 1) * a->stride - a->lo + a->dilation * (a->kernel - 1) + 1);
}

void ck_pool_outputs(const ck_pool_axis *a, int64_t i0, int64_t n, int64_t *lo, int64_t *hi) {
  if (a->adaptive) {
    *lo = scaled(i0, a->out, a->in, 0);
    *hi = scaled(i0 + n, a->out, a->in, 1);
    return;
  }
  *lo = ck_max(0, div_ceil(i0 + a->lo - a->dilation * (a->kernel - 1), a->stride));
  *hi = ck_min(a->out, div_floor(i0 + n - 1 + a->lo, a->stride) + 1);
}
