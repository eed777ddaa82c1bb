#include "col2im_axis.h"

#include <string.h>

ck_col2im_axis ck_col2im_axis_make(const ck_conv_shape *s, int d) {
  return (ck_col2im_axis){.in = s->in[d],
                          .out = s->out[d],
                          .pad_lo = s->pad_lo[d],
                          .pad_hi = s->pad_hi[d],
                          .stride = s->stride[d],
                          .dilation = s->dilation[d],
                          .mode = s->pad_lo[d] || s->pad_hi[d] ? s->padding_mode : CK_ZEROS};
}

int ck_col2im_next_repeat(const ck_col2im_axis *a, ck_col2im_repeat *r) {
  for (; a->mode != CK_ZEROS && r->tap < a->taps; r->tap++, r->at = -1) {
    const int64_t offset = (a->tap + r->tap) * a->dilation - a->pad_lo;
    while (++r->at < a->out) {
      const int64_t q = r->at * a->stride + offset;
      r->element = ck_map_axis(q, a->in, a->mode);
      if (q >= 0 && q < a->in) /* no padding; nor is any up to the last position that is not */
        r->at = ck_ceil_div(a->in - offset, a->stride) - 1;
      else if (r->element >= 0)
        return 1;
    }
  }
  return 0;
}

static int has(const ck_col2im_axis *a, int64_t element) { return element >= a->first && element < a->first + a->size; }

/* Positions low..high-1 of y reach elements q..last, padding apart; none where low >= high. */
static void reach(const ck_col2im_axis *a, int64_t q, int64_t last, int64_t *low, int64_t *high) {
  const int64_t from = q + a->pad_lo - (a->tap + a->taps - 1) * a->dilation;
  const int64_t to = last + a->pad_lo - a->tap * a->dilation;
  *low = from > 0 ? ck_ceil_div(from, a->stride) : 0;
  *high = to < 0 ? 0 : ck_min(a->out, to / a->stride + 1);
}

/* Padding that reflects is read from as far inside as it is long, and that which replicates from the edge; what goes
 * round may come from anywhere. What padding and taps add is divided apart: their sum may not fit. */
int64_t ck_col2im_positions(const ck_col2im_axis *a, int64_t size, int64_t taps) {
  const int64_t extent = (taps - 1) * a->dilation, padding = a->pad_lo + a->pad_hi;
  if (a->mode == CK_ZEROS)
    return ck_min(a->out, (size - 1 + extent) / a->stride + 1);
  if (a->mode == CK_CIRCULAR)
    return a->out;
  const int64_t repeated = a->mode == CK_REFLECT ? 2 * padding : padding;
  return ck_min(a->out, (size - 1 + repeated) / a->stride + extent / a->stride + 2);
}

void ck_col2im_axis_set(ck_col2im_axis *a, int64_t first, int64_t size, int64_t tap, int64_t taps) {
  int64_t end;
  a->first = first;
  a->size = size;
  a->tap = tap;
  a->taps = taps;
  reach(a, first, first + size - 1, &a->low, &end);
  for (ck_col2im_repeat r = {0, -1, 0}; ck_col2im_next_repeat(a, &r);) {
    if (!has(a, r.element))
      continue;
    a->low = a->low < end ? ck_min(a->low, r.at) : r.at;
    end = ck_max(end, r.at + 1);
  }
  a->positions = ck_max(0, end - a->low);
}

void ck_col2im_place_links(ck_col2im_axis *a, int64_t size, int64_t taps, ck_arena *arena) {
  a->begin = ck_take(arena, (size + 2) * (int64_t)sizeof(int32_t));
  a->link = ck_take(arena, ck_col2im_positions(a, size, taps) * taps * (int64_t)sizeof(ck_col2im_link));
}

void ck_col2im_place_phases(ck_col2im_axis *a, int64_t size, int64_t taps, ck_arena *arena) {
  a->begin = ck_take(arena, (ck_min(a->stride, size) + 2) * (int64_t)sizeof(int32_t));
  a->phase_taps = ck_take(arena, taps * (int64_t)sizeof(ck_column_tap));
}

/* The position that reaches coordinate q by way of tap t of those taken, or -1. */
static int64_t position_of(const ck_col2im_axis *a, int64_t q, int64_t t) {
  const int64_t at = q + a->pad_lo - (a->tap + t) * a->dilation;
  return at < 0 || at % a->stride || at / a->stride >= a->out ? -1 : at / a->stride;
}

/* From how many there are of number i, at next[i + 1], to where those begin, at next[i]; which runs ahead as they are
 * written, to where the next ones begin: `begin` of a table is the entry before. */
static void begin_each(int32_t *next, int64_t count) {
  for (int64_t i = 1; i <= count; i++)
    next[i] += next[i - 1];
}

/* One walk over all repeats, not one for each element: 1,000 elements with 500 of padding took 49 ms so, and 0.6 ms
 * this way (a Zen 4). They come after the taps that reach an element itself, in order. */
void ck_col2im_set_links(ck_col2im_axis *a) {
  int32_t *next = a->begin + 1;
  memset(a->begin, 0, (size_t)(a->size + 2) * sizeof *a->begin);
  for (int64_t i = 0; i < a->size; i++)
    for (int64_t t = 0; t < a->taps; t++)
      next[i + 1] += position_of(a, a->first + i, t) >= 0;
  for (ck_col2im_repeat r = {0, -1, 0}; ck_col2im_next_repeat(a, &r);)
    if (has(a, r.element))
      next[r.element - a->first + 1]++;
  begin_each(next, a->size);
  for (int64_t i = 0; i < a->size; i++) {
    for (int64_t t = 0; t < a->taps; t++) {
      const int64_t at = position_of(a, a->first + i, t);
      if (at >= 0)
        a->link[next[i]++] = (ck_col2im_link){(int32_t)t, (int32_t)(at - a->low)};
    }
  }
  for (ck_col2im_repeat r = {0, -1, 0}; ck_col2im_next_repeat(a, &r);)
    if (has(a, r.element))
      a->link[next[r.element - a->first]++] = (ck_col2im_link){(int32_t)r.tap, (int32_t)(r.at - a->low)};
}

/* Tap t of phase f: how far the position of the phase's first element is from the first that is taken; of a tap that
 * reaches none of its elements that may not fit. */
static ck_column_tap tap_of(const ck_col2im_axis *a, int64_t t, int64_t f, int64_t column, int64_t item) {
  const int64_t count = (a->size - f - 1) / a->stride + 1;
  const int64_t at = (a->first + f + a->pad_lo - (a->tap + t) * a->dilation) / a->stride; /* exact */
  ck_column_tap tap = {.first = ck_max(0, -at), .end = ck_min(count, a->out - at)};
  if (tap.first < tap.end)
    tap.at = t * column + (at - a->low) * item;
  return tap;
}

static int64_t phase_of(const ck_col2im_axis *a, int64_t t) {
  const int64_t at = (a->tap + t) * a->dilation - a->first - a->pad_lo;
  return at - ck_floor_div(at, a->stride) * a->stride;
}

/* Sorted by phase, those of a phase in order. */
void ck_col2im_set_phases(ck_col2im_axis *a, int64_t column, int64_t item) {
  int32_t *next = a->begin + 1;
  a->phases = ck_min(a->stride, a->size);
  memset(a->begin, 0, (size_t)(a->phases + 2) * sizeof *a->begin);
  for (int64_t t = 0; t < a->taps; t++)
    if (phase_of(a, t) < a->phases)
      next[phase_of(a, t) + 1]++;
  begin_each(next, a->phases);
  for (int64_t t = 0; t < a->taps; t++) {
    const int64_t f = phase_of(a, t);
    if (f < a->phases)
      a->phase_taps[next[f]++] = tap_of(a, t, f, column, item);
  }
}
