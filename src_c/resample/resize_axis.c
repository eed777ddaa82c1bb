#include "resize_axis.h"

#include <math.h>

static int64_t between(int64_t low, int64_t value, int64_t high) { return ck_max(low, ck_min(value, high)); }

/* The place in x of an element of the image, or of its edge. */
static int64_t place(const ck_resize_axis *a, int64_t index) {
  return between(0, between(0, index, a->whole_in - 1) - a->first_in, a->in - 1);
}

/* Weights of the elements at lower - 1 (cubic), lower, ...; Keys' cubic in factors, so that a weight near zero is as
 * exact as the others. Where an output lies on an element all taps read that one: what has no weight must not give 0 *
 * Inf. */
static ck_taps taps_from(const ck_resize_axis *a, int64_t lower, double right) {
  const double cubic = -0.75, left = 1 - right;
  const int64_t first = a->count == 4 ? lower - 1 : lower;
  ck_taps t = {.weight = {1}};
  if (a->count == 2) {
    t.weight[0] = left;
    t.weight[1] = right;
  } else if (a->count == 4) {
    t.weight[0] = cubic * right * left * left;
    t.weight[1] = left * (1 + right - (cubic + 2) * right * right);
    t.weight[2] = right * (1 + left - (cubic + 2) * left * left);
    t.weight[3] = cubic * left * right * right;
  }
  for (int64_t i = 0; i < a->count; i++) {
    int64_t index = left == 1 ? lower : right == 1 ? lower + 1 : first + i;
    t.index[i] = place(a, index);
    if (left == 1 || right == 1)
      t.weight[i] = 1 / (double)a->count;
  }
  t.first = place(a, first);
  t.last = place(a, first + a->count - 1);
  return t;
}

/* ---------------------------------------------------------------- with antialias */

static double radius(const ck_resize_axis *a) { return (a->sampling == CK_CUBIC ? 2 : 1) * a->stretch; }

/* Of the element of the image whose middle lies at index + 1/2, before all of an output's are made to add up to 1;
 * Keys' cubic, as above in factors, with A = -1/2. */
static double spread_weight(const ck_resize_axis *a, int64_t index, double at) {
  const double cubic = -0.5, d = fabs((double)index + 0.5 - at) / a->stretch;
  if (a->sampling == CK_LINEAR)
    return fmax(1 - d, 0);
  return d < 1 ? (1 - d) * (1 + d - (cubic + 2) * d * d) : d < 2 ? cubic * (d - 1) * (2 - d) * (2 - d) : 0;
}

int64_t ck_spread_count(const ck_resize_axis *a) { return ck_min(a->whole_in, (int64_t)ceil(2 * radius(a)) + 1); }

static ck_taps spread_from(const ck_resize_axis *a, double at) {
  ck_taps t = {.begin = ck_max(0, (int64_t)floor(at - radius(a) + 0.5)), .at = at};
  for (int64_t k = 0; k < a->count && t.begin + k < a->whole_in; k++)
    t.total += spread_weight(a, t.begin + k, at);
  t.first = place(a, t.begin);
  t.last = place(a, t.begin + a->count - 1);
  return t;
}

/* ---------------------------------------------------------------- any */

ck_tap ck_tap_of(const ck_resize_axis *a, const ck_taps *t, int64_t k) {
  if (a->stretch == 0)
    return (ck_tap){t->index[k], t->weight[k]};
  const int64_t index = t->begin + k - a->first_in;
  if (index < 0 || index >= a->in)
    return (ck_tap){-1, 0};
  const double weight = spread_weight(a, t->begin + k, t->at) / t->total;
  return (ck_tap){weight != 0 ? index : -1, weight};
}

/* Enlarged by a whole number, an output's place is counted from its element, not from the image's edge: it is then
 * rounded alike in every part of an image. */
ck_taps ck_taps_at(const ck_resize_axis *a, int64_t o) {
  if (a->kept)
    return a->kept[o];
  const int64_t output = o + a->first_out, element = a->ratio ? output / a->ratio : 0;
  double at = a->ratio ? ((double)(output % a->ratio) + a->before) / (double)a->ratio
                       : ((double)output + a->before) * a->times / a->over;
  at -= a->after;
  if (a->stretch > 0)
    return spread_from(a, at);
  if (a->sampling == CK_LINEAR && element == 0 && at < 0)
    at = 0;
  int64_t lower = ck_min(element + (int64_t)floor(at), a->whole_in - 1);
  return taps_from(a, lower, fmin(at - (double)(lower - element), 1));
}

/* The first output whose taps reach up to element i, or, with `past`, that begins past it. */
static int64_t first_output(const ck_resize_axis *a, int64_t i, int past) {
  int64_t low = 0, high = a->out;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    ck_taps t = ck_taps_at(a, middle);
    if (past ? t.first > i : t.last >= i)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

ck_reach ck_reach_of(const ck_resize_axis *a, int64_t first, int64_t last) {
  return (ck_reach){first_output(a, first, 0), first_output(a, last, 1)};
}

double ck_weight_on(const ck_resize_axis *a, int64_t o, int64_t i) {
  ck_taps t = ck_taps_at(a, o);
  if (a->stretch > 0) {
    const int64_t k = i + a->first_in - t.begin;
    return k >= 0 && k < a->count ? ck_tap_of(a, &t, k).weight : 0;
  }
  double sum = 0;
  for (int64_t k = 0; k < a->count; k++)
    sum += t.index[k] == i ? t.weight[k] : 0;
  return sum;
}
