#include "planes_block.h"

#include <string.h>

/* Kernels may read a vector beyond what a row needs. */
enum { SLACK = 64 };

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* ---------------------------------------------------------------- rows and planes */

static int64_t lowest_offset(const ck_axis *axis) {
  return axis->taps ? ck_min(ck_tap_offset(axis, 0), ck_tap_offset(axis, axis->taps - 1)) : 0;
}

static int64_t highest_offset(const ck_axis *axis) {
  return axis->taps ? ck_max(ck_tap_offset(axis, 0), ck_tap_offset(axis, axis->taps - 1)) : 0;
}

ck_slots ck_slots_make(const ck_axis *axis, int64_t first, int64_t count) {
  int64_t low = lowest_offset(axis), hull = (count - 1) * axis->step + highest_offset(axis) - low + 1;
  ck_slots s = {.axis = axis, .first = first, .count = count, .step = axis->step, .slots = hull};
  s.origin = axis->base + first * axis->step + low;
  /* Where an output's taps ended beyond the next one's first, slots would not follow the source. */
  s.sparse = !axis->stride && axis->step > highest_offset(axis) - low && hull > count * ck_max(1, axis->taps);
  if (s.sparse) {
    s.step = axis->taps;
    s.slots = count * axis->taps;
  }
  s.hi = s.slots;
  while (s.lo < s.hi && ck_map_axis(ck_slot_source(&s, s.lo), axis->source, axis->mode) < 0)
    s.lo++;
  while (s.lo < s.hi && ck_map_axis(ck_slot_source(&s, s.hi - 1), axis->source, axis->mode) < 0)
    s.hi--;
  return s;
}

int64_t ck_slot_of_tap(const ck_slots *s, int64_t t) {
  return s->sparse ? t : ck_tap_offset(s->axis, t) - lowest_offset(s->axis);
}

int64_t ck_slot_source(const ck_slots *s, int64_t slot) {
  if (!s->sparse)
    return s->origin + slot;
  return s->axis->base + (s->first + slot / s->step) * s->axis->step + ck_tap_offset(s->axis, slot % s->step);
}

/* ---------------------------------------------------------------- columns */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t next = a % b;
    a = b;
    b = next;
  }
  return a;
}

/* Taps so many apart read the same residue of the step. */
static int64_t period_of(const ck_axis *axis) {
  return axis->stride ? 1 : axis->step / gcd(axis->step, axis->tap_step);
}

/* In steps, from the least to the greatest offset among the taps of residue class i. */
static int64_t reach_of(const ck_axis *axis, int64_t period, int64_t i) {
  int64_t last = i + (axis->taps - 1 - i) / period * period;
  int64_t apart = ck_tap_offset(axis, last) - ck_tap_offset(axis, i);
  return (apart < 0 ? -apart : apart) / axis->step;
}

/* Classes of taps that share a segment, or as many as there are taps. */
static int64_t classes_of(const ck_axis *axis, int64_t count, int64_t *elements) {
  int64_t period = period_of(axis), classes = ck_min(period, axis->taps), all = 0;
  for (int64_t i = 0; i < classes; i++)
    all += count + reach_of(axis, period, i);
  *elements = ck_min(all, axis->taps * count);
  return all <= axis->taps * count ? classes : axis->taps;
}

int64_t ck_planes_pitch(const ck_kernels *k, const ck_axis *axis, int64_t count) {
  int64_t elements;
  classes_of(axis, count, &elements);
  elements = ck_max(1, elements);
  return elements * k->real_size % 1024 == 0 ? elements + k->vector
                                             : elements; /* rows of one column in all cache sets */
}

static void set_segments(ck_planes_block *b) {
  const ck_axis *a = &b->source->axis[2];
  int64_t elements, period = period_of(a), at = 0;
  b->segments = classes_of(a, b->count, &elements);
  int shared = b->segments == ck_min(period, a->taps);
  for (int64_t i = 0; i < b->segments; i++) {
    int64_t start = a->base + b->first * a->step, last = shared ? i + (a->taps - 1 - i) / period * period : i;
    int64_t low = start + ck_min(ck_tap_offset(a, i), ck_tap_offset(a, last));
    int64_t length = b->count + (shared ? reach_of(a, period, i) : 0);
    b->segment[i] = (ck_segment){.at = at, .length = length, .first = low};
    for (int64_t t = i; t <= last; t += period)
      b->xo[t] = (int32_t)(at + (start + ck_tap_offset(a, t) - low) / a->step);
    at += length;
  }
}

static void add_span(ck_planes_block *b, const ck_segment *s, int64_t from, int64_t end, int64_t stride) {
  const ck_axis *a = &b->source->axis[2];
  while (from < end) {
    int64_t source = ck_map_axis(s->first + from * a->step, a->source, a->mode), next = from + 1, step = a->step;
    if (source >= 0 && next < end) {
      step = ck_map_axis(s->first + next * a->step, a->source, a->mode) - source;
      while (next < end) {
        int64_t other = ck_map_axis(s->first + next * a->step, a->source, a->mode);
        if (other < 0 || other != source + (next - from) * step)
          break;
        next++;
      }
    }
    if (source >= 0)
      b->span[b->spans++] = (ck_span){(int32_t)(s->at + from), (int32_t)(next - from), source * stride, step * stride};
    else
      b->padded = 1;
    from = next;
  }
}

/* Runs of constant step, zeros left out: what lies inside the source is one, whatever its length. */
static void set_spans(ck_planes_block *b, int64_t stride) {
  const ck_axis *a = &b->source->axis[2];
  b->spans = 0;
  b->padded = 0;
  for (int64_t i = 0; i < b->segments; i++) {
    const ck_segment *s = &b->segment[i];
    int64_t inside = ck_max(0, ck_min(s->length, -floor_div(s->first, a->step)));
    int64_t outside = ck_max(inside, ck_min(s->length, floor_div(a->source - 1 - s->first, a->step) + 1));
    int zeros = a->mode == CK_ZEROS;
    if (zeros)
      b->padded |= inside > 0 || outside < s->length;
    else
      add_span(b, s, 0, inside, stride);
    if (outside > inside)
      b->span[b->spans++] = (ck_span){(int32_t)(s->at + inside), (int32_t)(outside - inside),
                                      (s->first + inside * a->step) * stride, a->step * stride};
    if (!zeros)
      add_span(b, s, outside, s->length, stride);
  }
}

/* ---------------------------------------------------------------- blocks */

void ck_planes_place(ck_planes_block *b, const ck_kernels *k, const ck_source *source, const ck_planes_size *size,
                     ck_arena *arena) {
  const ck_axis *a = &source->axis[2];
  int64_t pitch = ck_planes_pitch(k, a, size->columns), lines = size->planes * size->rows, elements;
  int64_t bytes = ck_round_up(size->channels * lines * pitch * k->real_size, 64) + SLACK;
  int64_t segments = classes_of(a, size->columns, &elements);
  memset(b, 0, sizeof *b);
  b->kernels = k;
  b->source = source;
  b->data = ck_take(arena, bytes);
  if (source->act_y.data)
    b->act_data = ck_take(arena, bytes);
  if (size->mask)
    b->mask = ck_take(arena, pitch * k->real_size + SLACK);
  b->xo = ck_take(arena, ck_max(1, a->taps) * (int64_t)sizeof *b->xo);
  b->segment = ck_take(arena, segments * (int64_t)sizeof *b->segment);
  b->span = ck_take(arena, (a->mode == CK_ZEROS ? segments : pitch) * (int64_t)sizeof *b->span);
  b->row_dst = ck_take(arena, lines * (int64_t)sizeof *b->row_dst);
  b->row_src = ck_take(arena, lines * (int64_t)sizeof *b->row_src);
}

static void set_rows(ck_planes_block *b, const int64_t stride[5]) {
  const ck_axis *az = b->z.axis, *ay = b->y.axis;
  b->rows = 0;
  for (int64_t z = b->z.lo; z < b->z.hi; z++) {
    int64_t at_z = ck_map_axis(ck_slot_source(&b->z, z), az->source, az->mode) * stride[2];
    for (int64_t y = b->y.lo; y < b->y.hi; y++) {
      b->row_dst[b->rows] = (int32_t)(z * b->plane + y * b->pitch);
      b->row_src[b->rows++] = at_z + ck_map_axis(ck_slot_source(&b->y, y), ay->source, ay->mode) * stride[3];
    }
  }
}

static void set_mask(ck_planes_block *b) {
  const int64_t item = b->kernels->real_size;
  memset(b->mask, 0, (size_t)(b->pitch * item + SLACK));
  for (int64_t i = 0; i < b->spans; i++)
    memset(b->mask + b->span[i].dst * item, 0xff, (size_t)(b->span[i].length * item));
}

/* Of the rows that hold data. */
static void zero(const ck_planes_block *b, char *data, int64_t channels) {
  const int64_t item = b->kernels->real_size, rows = b->y.hi - b->y.lo;
  for (int64_t c = 0; c < channels; c++)
    for (int64_t z = b->z.lo; z < b->z.hi; z++)
      memset(data + (c * b->channel + z * b->plane + b->y.lo * b->pitch) * item, 0, (size_t)(rows * b->pitch * item));
}

void ck_planes_set(ck_planes_block *b, const ck_box *box, int64_t channels) {
  const ck_source *s = b->source;
  b->z = ck_slots_make(&s->axis[0], box->first[1], box->size[1]);
  b->y = ck_slots_make(&s->axis[1], box->first[2], box->size[2]);
  b->first = box->first[3];
  b->count = box->size[3];
  b->channels = channels;
  b->pitch = ck_planes_pitch(b->kernels, &s->axis[2], b->count);
  b->plane = b->y.slots * b->pitch;
  b->channel = b->z.slots * b->plane;
  set_segments(b);
  set_spans(b, s->tensor.stride[4]);
  set_rows(b, s->tensor.stride);
  if (b->mask)
    set_mask(b);
  if (b->padded) {
    zero(b, b->data, channels);
    if (b->act_data)
      zero(b, b->act_data, channels);
  }
}

static void fill(ck_planes_block *b, const ck_tensor *tensor, const char *end, int64_t image, int64_t channel,
                 void *data) {
  ck_stage stage = {
      .dst = data,
      .src = (char *)tensor->data + image * tensor->stride[0] + channel * tensor->stride[1],
      .src_end = end,
      .images = 1,
      .channels = b->channels,
      .dst_channel = b->channel,
      .src_channel = tensor->stride[1],
      .dst_position = 1,
      .rows = b->rows,
      .row_dst = b->row_dst,
      .row_src = b->row_src,
      .spans = b->spans,
      .span = b->span,
  };
  b->kernels->stage(&stage);
}

void ck_planes_fill(ck_planes_block *b, int64_t image, int64_t channel) {
  const ck_source *s = b->source;
  fill(b, &s->tensor, s->end, image, channel, b->data);
  if (!b->act_data)
    return;
  set_spans(b, s->act_y.stride[4]);
  set_rows(b, s->act_y.stride);
  fill(b, &s->act_y, s->act_end, image, channel, b->act_data);
  b->kernels->activation_gradient(b->data, b->data, b->act_data, b->channels * b->channel, s->activation, s->act_a,
                                  s->act_b);
  set_spans(b, s->tensor.stride[4]);
  set_rows(b, s->tensor.stride);
}
