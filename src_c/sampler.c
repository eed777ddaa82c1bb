#include "sampler.h"

#include <string.h>

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

static int64_t corners_of(int nd) { return (int64_t)1 << nd; }

ck_sampler ck_sampler_make(const ck_kernels *kernels, const ck_deform *call) {
  const ck_conv_shape *s = &call->conv.shape;
  int64_t all = s->groups * s->c_in;
  ck_sampler sampler = {.kernels = kernels, .call = call};
  sampler.channels = gcd(s->c_in, all / ck_max(1, call->offset_groups));
  return sampler;
}

int64_t ck_sampler_lanes(const ck_sampler *sampler, int64_t channel, int64_t end) {
  int64_t group_end = (channel / sampler->channels + 1) * sampler->channels;
  return ck_min(sampler->kernels->vector, ck_min(end, group_end) - channel);
}

static int64_t taps_of(const int64_t taps[3]) { return taps[0] * taps[1] * taps[2]; }

void ck_samples_place(ck_samples *samples, const ck_sampler *sampler, int64_t pixels, int64_t taps, ck_arena *arena) {
  const ck_kernels *k = sampler->kernels;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  const int64_t item = k->real_size, points = taps * pixels;
  const int nd = sampler->call->nd;
  ck_points *p = &samples->points;
  int64_t rows = ck_min(s->in[0] * s->in[1], CK_REGION_BYTES / (k->vector * item));
  samples->sampler = sampler;
  samples->group = -1;
  p->nd = nd;
  samples->image = ck_take(arena, CK_REGION_BYTES + 64);
  samples->offset = ck_take(arena, points * nd * item);
  samples->mask = ck_take(arena, sampler->call->mask.data ? points * item : 0);
  samples->row_dst = ck_take(arena, ck_max(1, rows) * (int64_t)sizeof(int32_t));
  samples->row_src = ck_take(arena, ck_max(1, rows) * (int64_t)sizeof(int64_t));
  for (int d = 0; d < nd; d++) {
    samples->base[d] = ck_take(arena, pixels * (int64_t)sizeof(int64_t));
    samples->tap[d] = ck_take(arena, taps * (int64_t)sizeof(int64_t));
    p->low[d] = ck_take(arena, points * (int64_t)sizeof(int64_t));
    p->fraction[d] = ck_take(arena, points * item);
    p->base[d] = samples->base[d];
    p->tap[d] = samples->tap[d];
  }
  p->at = ck_take(arena, points * corners_of(nd) * (int64_t)sizeof(int64_t));
  p->weight = ck_take(arena, points * corners_of(nd) * item);
}

int64_t ck_samples_pixel_step(const ck_sampler *sampler, int64_t channels) {
  return channels + sampler->kernels->vector;
}

/* Where outputs and taps stand in the image before they are moved. */
static void set_grid(ck_samples *samples) {
  const ck_conv_shape *s = &samples->sampler->call->conv.shape;
  const int64_t *size = samples->box.size, *first = samples->box.first;
  const int nd = samples->points.nd;
  int64_t at[3], index = 0;
  for (at[0] = 0; at[0] < size[1]; at[0]++)
    for (at[1] = 0; at[1] < size[2]; at[1]++)
      for (at[2] = 0; at[2] < size[3]; at[2]++, index++)
        for (int d = 0; d < nd; d++) {
          int a = 3 - nd + d;
          samples->base[d][index] = (first[a + 1] + at[a]) * s->stride[a] - s->pad_lo[a];
        }
  samples->points.pixels = index;
  index = 0;
  for (at[0] = 0; at[0] < samples->kblock.taps[0]; at[0]++)
    for (at[1] = 0; at[1] < samples->kblock.taps[1]; at[1]++)
      for (at[2] = 0; at[2] < samples->kblock.taps[2]; at[2]++, index++)
        for (int d = 0; d < nd; d++)
          samples->tap[d][index] = (samples->kblock.tap[3 - nd + d] + at[3 - nd + d]) * s->dilation[3 - nd + d];
  samples->points.taps = index;
}

/* Rows `per_tap` a tap of offsets or masks: [tap * per_tap + i][pixel]. */
static void load_rows(ck_samples *samples, const ck_tensor *tensor, int64_t per_tap, char *out) {
  const ck_kernels *k = samples->sampler->kernels;
  const int64_t *kernel = samples->sampler->call->conv.shape.kernel, *size = samples->box.size;
  const int64_t *first = samples->box.first, *stride = tensor->stride, *tap = samples->kblock.tap;
  int32_t zero = 0;
  int64_t none = 0, at[3];
  ck_span span = {0, (int32_t)size[3], 0, stride[4]};
  ck_stage stage = {.images = 1,
                    .channels = per_tap,
                    .dst_channel = samples->points.pixels,
                    .src_channel = stride[1],
                    .dst_position = 1,
                    .rows = 1,
                    .row_dst = &zero,
                    .row_src = &none,
                    .spans = 1,
                    .span = &span};
  for (at[0] = tap[0]; at[0] < tap[0] + samples->kblock.taps[0]; at[0]++) {
    for (at[1] = tap[1]; at[1] < tap[1] + samples->kblock.taps[1]; at[1]++) {
      for (at[2] = tap[2]; at[2] < tap[2] + samples->kblock.taps[2]; at[2]++) {
        int64_t row = ((samples->group * kernel[0] + at[0]) * kernel[1] + at[1]) * kernel[2] + at[2];
        char *from = (char *)tensor->data + first[0] * stride[0] + row * per_tap * stride[1] + first[3] * stride[4];
        for (int64_t line = 0; line < size[1] * size[2]; line++) {
          stage.dst = out + line * size[3] * k->real_size;
          stage.src = from + (first[1] + line / size[2]) * stride[2] + (first[2] + line % size[2]) * stride[3];
          k->stage(&stage);
        }
        out += per_tap * samples->points.pixels * k->real_size;
      }
    }
  }
}

/* Chooses between staging and reading in place, and what corners' places count from. */
static void set_region(ck_samples *samples) {
  const ck_sampler *sampler = samples->sampler;
  const ck_kernels *k = sampler->kernels;
  const int64_t vector_bytes = k->vector * k->real_size, *stride = sampler->call->conv.x.stride;
  ck_points *p = &samples->points;
  int64_t positions = 1, room = CK_REGION_BYTES / vector_bytes - 1; /* one place is nowhere, and holds zeros */
  for (int d = p->nd - 1; d >= 0; d--) {
    int64_t extent = ck_max(0, p->most[d] - p->least[d] + 1);
    p->first[d] = p->least[d];
    p->step[d] = positions * k->vector;
    positions = positions > room ? positions : positions * extent;
  }
  samples->region = positions <= room ? positions + 1 : 0;
  p->nowhere = positions * k->vector;
  if (samples->region)
    return;
  p->nowhere = -1;
  for (int d = 0; d < p->nd; d++) {
    p->first[d] = 0;
    p->step[d] = stride[5 - p->nd + d];
  }
}

static int located(const ck_samples *samples, const ck_box *box, const ck_kblock *kb, int64_t group) {
  int same = samples->group == group;
  for (int d = 0; d < 4; d++)
    same &= samples->box.first[d] == box->first[d] && samples->box.size[d] == box->size[d];
  for (int d = 0; d < 3; d++)
    same &= samples->kblock.tap[d] == kb->tap[d] && samples->kblock.taps[d] == kb->taps[d];
  return same;
}

void ck_samples_locate(ck_samples *samples, const ck_box *box, const ck_kblock *kb, int64_t group) {
  const ck_deform *call = samples->sampler->call;
  const ck_kernels *k = samples->sampler->kernels;
  ck_points *p = &samples->points;
  int same = located(samples, box, kb, group);
  samples->kblock = *kb; /* channels too, which say how far pixels lie apart */
  if (same)
    return;
  samples->box = *box;
  samples->group = group;
  for (int d = 0; d < p->nd; d++)
    p->size[d] = call->conv.shape.in[3 - p->nd + d];
  set_grid(samples);
  load_rows(samples, &call->offset, p->nd, samples->offset);
  p->offset = samples->offset;
  p->mask = NULL;
  if (call->mask.data) {
    load_rows(samples, &call->mask, 1, samples->mask);
    p->mask = samples->mask;
  }
  k->locate(p);
  set_region(samples);
  k->corners(p);
}

void ck_samples_stage(ck_samples *samples, int64_t channel, int64_t lanes) {
  const ck_sampler *sampler = samples->sampler;
  const ck_kernels *k = sampler->kernels;
  const ck_tensor *x = &sampler->call->conv.x;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  const ck_points *p = &samples->points;
  if (!samples->region)
    return;
  int64_t extent[3] = {1, 1, 1}, least[3] = {0, 0, 0}, rows = 0;
  int64_t sizes[5] = {s->n, s->groups * s->c_in, s->in[0], s->in[1], s->in[2]};
  for (int d = 0; d < p->nd; d++) {
    extent[3 - p->nd + d] = ck_max(0, p->most[d] - p->least[d] + 1);
    least[3 - p->nd + d] = p->least[d];
  }
  for (int64_t z = 0; z < extent[0] && extent[2]; z++) {
    for (int64_t y = 0; y < extent[1]; y++, rows++) {
      samples->row_dst[rows] = (int32_t)(rows * extent[2]);
      samples->row_src[rows] = (least[0] + z) * x->stride[2] + (least[1] + y) * x->stride[3];
    }
  }
  ck_span span = {0, (int32_t)extent[2], least[2] * x->stride[4], x->stride[4]};
  ck_stage stage = {.dst = samples->image,
                    .src_end = ck_end(x->data, sizes, x->stride, 5, k->real_size),
                    .images = 1,
                    .src = (char *)x->data + samples->box.first[0] * x->stride[0] + channel * x->stride[1],
                    .channels = 1,
                    .lanes = lanes,
                    .src_lane = x->stride[1],
                    .dst_position = k->vector,
                    .rows = rows,
                    .row_dst = samples->row_dst,
                    .row_src = samples->row_src,
                    .spans = 1,
                    .span = &span};
  k->stage(&stage);
  memset(samples->image + p->nowhere * k->real_size, 0, (size_t)(k->vector * k->real_size));
}

ck_sample ck_samples_source(const ck_samples *samples, int64_t channel, int64_t lanes) {
  const ck_tensor *x = &samples->sampler->call->conv.x;
  ck_sample sample = {.points = &samples->points, .image = samples->image, .lanes = lanes};
  if (!samples->region) {
    sample.image = (char *)x->data + samples->box.first[0] * x->stride[0] + channel * x->stride[1];
    sample.in_place = 1;
    sample.lane_stride = x->stride[1];
  }
  return sample;
}

void ck_samples_columns(ck_samples *samples, const ck_box *box, const ck_kblock *kb, int64_t first_channel, char *out) {
  const ck_sampler *sampler = samples->sampler;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  int64_t step = ck_samples_pixel_step(sampler, kb->channels), taps = taps_of(kb->taps), lanes;
  int64_t per_group = s->groups * s->c_in / sampler->call->offset_groups;
  int64_t begin = first_channel + kb->channel, end = begin + kb->channels;
  for (int64_t c = begin; c < end; c += lanes) {
    lanes = ck_sampler_lanes(sampler, c, end);
    ck_samples_locate(samples, box, kb, c / per_group);
    ck_samples_stage(samples, c, lanes);
    ck_sample sample = ck_samples_source(samples, c, lanes);
    sample.out = out + (c - begin) * sampler->kernels->real_size;
    sample.tap_step = step;
    sample.pixel_step = step * taps;
    sampler->kernels->sample(&sample);
  }
}

void ck_samples_column_offsets(const ck_samples *samples, int32_t *pixels, int32_t *rows) {
  const ck_kblock *kb = &samples->kblock;
  int64_t step = ck_samples_pixel_step(samples->sampler, kb->channels), taps = taps_of(kb->taps);
  for (int64_t x = 0; x < samples->points.pixels; x++)
    pixels[x] = (int32_t)(x * taps * step);
  for (int64_t c = 0; c < kb->channels; c++)
    for (int64_t t = 0; t < taps; t++)
      *rows++ = (int32_t)(t * step + c);
}
