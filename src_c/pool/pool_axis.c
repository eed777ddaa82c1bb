/* The arithmetic of pooling along one axis; every size and product of the callers' fits 64 bits. */
#include "pool_axis.h"

/* Folding by powers of two costs up to 2 * log2(taps) operations for each position, at every step; one tap after the
 * other `taps` for each result.  Measured, both take as long at about 12 * step taps. */
enum { POWERS_FROM = 12 };

/* floor(a * b / c): the product may need more than 64 bits, the result does not. */
static int64_t scaled(int64_t a, int64_t b, int64_t c) { return (int64_t)((__int128)a * b / c); }

static void set_forward(ck_pool_axis *a, int innermost) {
  int64_t common = ck_gcd(a->stride, a->dilation);
  a->unit = common;
  a->step = a->stride / common;
  a->tap_step = a->dilation / common;
  a->taps = a->kernel;
  /* Of neighbouring elements that lie in memory one after the other, up to half are better copied in vain. */
  if ((a->taps - 1) * a->tap_step < a->step && a->taps * (innermost && a->tap_step == 1 ? 2 : 1) < a->step) {
    a->run = a->taps;
    a->run_step = a->stride;
    a->unit = a->dilation;
    a->step = a->taps;
    a->tap_step = 1;
  }
  a->by_powers = a->taps / POWERS_FROM >= a->step;
}

/* Of each residue of the stride, every so many taps. */
static void set_backward(ck_pool_axis *a) {
  int64_t common = ck_gcd(a->stride, a->dilation);
  a->unit = a->step = 1;
  a->irregular = a->stride > 1;
  a->taps = ck_ceil_div(a->kernel, a->stride / common);
  a->tap_step = a->dilation / common;
  a->by_powers = a->taps >= POWERS_FROM;
}

ck_pool_axis ck_pool_axis_make(const ck_pool_shape *s, int d, int backward) {
  ck_pool_axis a = {.in = s->in[d],
                    .out = s->out[d],
                    .kernel = s->kernel[d],
                    .stride = s->stride[d],
                    .dilation = s->dilation[d],
                    .lo = s->pad_lo[d],
                    .hi = s->pad_hi[d],
                    .adaptive = s->adaptive,
                    .count_pad = s->count_pad,
                    .backward = backward};
  a.sources = backward ? a.out : a.in;
  a.results = backward ? a.in : a.out;
  if (a.adaptive && a.out > 0 && a.in % a.out == 0) {
    a.adaptive = a.count_pad = 0;
    a.kernel = a.stride = a.in / a.out;
    a.dilation = 1;
    a.lo = a.hi = 0;
  }
  if (a.adaptive) {
    a.irregular = 1;
    a.unit = a.step = a.tap_step = 1;
    a.taps = ck_ceil_div(a.sources, ck_max(1, a.results)) + 1;
  } else {
    if (a.kernel == 1)
      a.dilation = 1;
    if (a.out == 1 && !backward) /* nothing overlaps */
      a.stride = (a.kernel - 1) * a.dilation + 1;
    if (backward)
      set_backward(&a);
    else
      set_forward(&a, d == 2);
  }
  a.segment = a.taps;
  return a;
}

/* Taps of output o that lie before coordinate `end`. */
static int64_t taps_before(const ck_pool_axis *a, int64_t o, int64_t end) {
  return ck_max(0, ck_min(a->kernel, ck_ceil_div(end - (o * a->stride - a->lo), a->dilation)));
}

ck_range ck_pool_window(const ck_pool_axis *a, int64_t o) {
  if (a->adaptive) {
    int64_t first = scaled(o, a->in, a->out), last = scaled(o + 1, a->in, a->out);
    return (ck_range){first, last - first + ((__int128)last * a->out < (__int128)(o + 1) * a->in)};
  }
  int64_t start = o * a->stride - a->lo, skipped = start < 0 ? ck_ceil_div(-start, a->dilation) : 0;
  int64_t count = taps_before(a, o, a->in) - skipped;
  return (ck_range){start + skipped * a->dilation, ck_max(0, count)};
}

int64_t ck_pool_divisor(const ck_pool_axis *a, int64_t o) {
  if (!a->adaptive && a->count_pad)
    return ck_max(1, taps_before(a, o, a->in + a->hi));
  return ck_max(1, ck_pool_window(a, o).count);
}

int64_t ck_pool_hull(const ck_pool_axis *a, int64_t n, int64_t taps) {
  n = ck_max(1, n);
  if (a->adaptive)
    return ck_max(1, ck_min(a->sources, (n - 1) * ck_ceil_div(a->sources, ck_max(1, a->results)) + taps + 1));
  if (!a->backward)
    return (n - 1) * a->step + (taps - 1) * a->tap_step + 1;
  return (n - 1) / a->stride + 1 + (taps + 1) * a->tap_step;
}

/* ---------------------------------------------------------------- spans */

static int32_t taken(const ck_pool_span *s, int64_t count) {
  return (int32_t)ck_max(0, ck_min(count - s->tap, s->taps));
}

/* Result i of an adaptive axis covers sources from floor(i * sources / results) to the ceiling of the next: in steps
 * that keep quotient and remainder, since divisions would take longer than all else. */
static int64_t set_adaptive(ck_pool_span *s, const ck_pool_axis *a, int64_t i) {
  int64_t step = a->sources / a->results, more = a->sources % a->results, base = scaled(i, a->sources, a->results);
  int64_t at = base, rest = (int64_t)((__int128)i * a->sources % a->results);
  for (int64_t j = 0; j < s->n; j++) {
    int64_t from = at;
    at += step;
    rest += more;
    if (rest >= a->results) {
      at++;
      rest -= a->results;
    }
    s->first[j] = (int32_t)(from - base);
    s->count[j] = taken(s, at + (rest > 0) - from);
  }
  return base;
}

/* The number x < m for which a * x % m is 1 % m; a and m have no common divisor. */
static int64_t inverse(int64_t a, int64_t m) {
  int64_t x = 1 % m, y = 0, r = a % m, s = m;
  while (r > 1) {
    int64_t q = s / r, t = s - q * r, u = y - q * x;
    s = r;
    r = t;
    y = x;
    x = u;
  }
  return x < 0 ? x + m : x;
}

/* Input i is covered by outputs o with o * stride + t * dilation = i + lo for some tap t < kernel: by none where the
 * common divisor leaves a rest, else for every period-th tap, of which the last belongs to the first output. Inputs
 * that are a stride apart have outputs that are one apart. */
static int64_t set_covers(ck_pool_span *s, const ck_pool_axis *a, int64_t i) {
  int64_t common = a->dilation / a->tap_step, period = a->stride / common, turn = inverse(a->tap_step, period);
  int64_t base = ck_floor_div(i + a->lo - (a->kernel - 1) * a->dilation, a->stride);
  int64_t next = ck_round_up(i + a->lo, common), t = (int64_t)((__int128)(next / common % period) * turn % period);
  for (int64_t j = 0; j < s->n; j++) {
    int64_t q = i + a->lo + j, last = a->kernel - 1 - t;
    if (j >= a->stride) {
      s->first[j] = s->first[j - a->stride] + 1;
      s->count[j] = s->count[j - a->stride];
      continue;
    }
    s->first[j] = s->count[j] = 0;
    if (q < next)
      continue;
    if (last >= 0) {
      last = last < period ? 0 : last / period;
      s->first[j] = (int32_t)((q - (t + last * period) * a->dilation) / a->stride - base);
      s->count[j] = taken(s, last + 1);
    }
    next += common;
    t = t + turn < period ? t + turn : t + turn - period;
  }
  return base;
}

static void set_table(ck_pool_span *s, const ck_pool_axis *a, int64_t first) {
  if (!a->adaptive)
    s->least = ck_max(1, ck_min(a->kernel / (a->stride / (a->dilation / a->tap_step)) - s->tap, s->taps));
  int64_t lowest = INT32_MAX, highest = 0;
  s->base = (a->adaptive ? set_adaptive(s, a, first) : set_covers(s, a, first)) + s->tap * a->tap_step;
  for (int64_t j = 0; j < s->n; j++) {
    if (s->count[j] == 0)
      continue;
    lowest = ck_min(lowest, s->first[j]);
    highest = ck_max(highest, s->first[j] + (s->count[j] - 1) * a->tap_step + 1);
  }
  lowest = ck_min(lowest, highest);
  for (int64_t j = 0; j < s->n; j++)
    s->first[j] = s->count[j] ? (int32_t)(s->first[j] - lowest) : 0;
  s->base += lowest;
  s->hull = highest - lowest;
}

/* The first position at source `at` or beyond. */
static int64_t position_of(const ck_pool_span *s, const ck_pool_axis *a, int64_t at) {
  int64_t run = a->run ? ck_floor_div(at - s->base, a->run_step) : 0, from = s->base + run * a->run_step;
  int64_t p = ck_max(0, ck_ceil_div(at - from, a->unit));
  return a->run ? run * a->run + ck_min(p, a->run) : p;
}

void ck_pool_span_set(ck_pool_span *s, const ck_pool_axis *a, int64_t first, int64_t n, int64_t tap) {
  s->n = n;
  s->tap = tap;
  s->taps = ck_min(a->segment, a->taps - tap);
  if (a->irregular) {
    set_table(s, a, first);
  } else {
    s->base = a->backward ? first + a->lo - (a->kernel - 1 - tap) * a->dilation
                          : first * a->stride - a->lo + tap * a->dilation;
    s->hull = (n - 1) * a->step + (s->taps - 1) * a->tap_step + 1;
  }
  s->lead = ck_min(s->hull, ck_max(0, position_of(s, a, 0)));
  s->end = ck_max(s->lead, ck_min(s->hull, position_of(s, a, a->sources)));
  int64_t least = a->irregular ? s->hull : ck_max(n * a->step, s->hull - s->lead);
  s->length = ck_round_up(ck_max(s->end, least), a->step);
}
