#include "sampler.h"

#include <string.h>

#include "base/places.h"

/* A vector of channels of the part of the image that is staged at most; points that lie further apart are read in
 * place. In 3-D offsets of a few elements need so much that there a tile is one vector. */
enum { REGION_BYTES = 128 * 1024, REGION_BYTES_3D = 256 * 1024 };

static int64_t corners_of(int nd) { return (int64_t)1 << nd; }

ck_sampler ck_sampler_make(const ck_kernels *kernels, const ck_deform *call) {
  const ck_conv_shape *s = &call->conv.shape;
  int64_t all = s->groups * s->c_in;
  ck_sampler sampler = {.kernels = kernels, .call = call};
  sampler.channels = ck_gcd(s->c_in, all / ck_max(1, call->offset_groups));
  sampler.vectors = sampler.channels > kernels->vector && call->nd < 3 ? 2 : 1;
  return sampler;
}

int64_t ck_sampler_lanes(const ck_sampler *sampler, int64_t channel, int64_t end) {
  int64_t group_end = (channel / sampler->channels + 1) * sampler->channels;
  return ck_min(sampler->vectors * sampler->kernels->vector, ck_min(end, group_end) - channel);
}

/* Places in a staged image: one is nowhere, and holds zeros. */
static int64_t most_places(const ck_sampler *sampler) {
  const ck_kernels *k = sampler->kernels;
  const int64_t *in = sampler->call->conv.shape.in;
  int64_t bytes = sampler->call->nd < 3 ? REGION_BYTES : REGION_BYTES_3D;
  int64_t most = bytes / (k->vector * k->real_size), all = ck_min(sampler->call->conv.shape.n, most);
  for (int d = 0; d < 3 && all < most; d++)
    all *= ck_min(in[d], most);
  return ck_min(all + 1, most);
}

int64_t ck_sampler_image_bytes(const ck_sampler *sampler) {
  return most_places(sampler) * sampler->vectors * sampler->kernels->vector * sampler->kernels->real_size;
}

void ck_samples_place(ck_samples *samples, const ck_sampler *sampler, int64_t pixels, int64_t taps, ck_arena *arena) {
  const int64_t item = sampler->kernels->real_size, points = taps * pixels;
  const int nd = sampler->call->nd;
  ck_points *p = &samples->points;
  samples->sampler = sampler;
  samples->group = -1;
  p->nd = nd;
  p->image = ck_take(arena, pixels * (int64_t)sizeof(int32_t));
  p->offset = ck_take(arena, points * nd * item);
  p->mask = sampler->call->mask.data ? ck_take(arena, points * item) : NULL;
  for (int d = 0; d < nd; d++) {
    p->base[d] = ck_take(arena, pixels * (int64_t)sizeof(int64_t));
    p->tap[d] = ck_take(arena, taps * (int64_t)sizeof(int64_t));
    p->low[d] = ck_take(arena, points * item);
    p->fraction[d] = ck_take(arena, points * item);
  }
  p->at = ck_take(arena, points * corners_of(nd) * (int64_t)sizeof(int32_t));
  p->weight = ck_take(arena, points * corners_of(nd) * item);
}

int64_t ck_samples_tap_step(const ck_sampler *sampler, int64_t channels) {
  return channels + (sampler->whole ? 0 : sampler->kernels->vector);
}

/* Where outputs and taps stand in the image before they are moved. */
static void set_grid(ck_samples *samples) {
  const ck_conv_shape *s = &samples->sampler->call->conv.shape;
  const int64_t *size = samples->box.size, *first = samples->box.first;
  const int nd = samples->points.nd;
  int64_t at[3], index = 0;
  for (int64_t n = 0; n < size[0]; n++)
    for (at[0] = 0; at[0] < size[1]; at[0]++)
      for (at[1] = 0; at[1] < size[2]; at[1]++)
        for (at[2] = 0; at[2] < size[3]; at[2]++, index++) {
          samples->points.image[index] = (int32_t)n;
          for (int d = 0; d < nd; d++)
            samples->points.base[d][index] =
                (first[4 - nd + d] + at[3 - nd + d]) * s->stride[3 - nd + d] - s->pad_lo[3 - nd + d];
        }
  samples->points.pixels = index;
  index = 0;
  for (at[0] = 0; at[0] < samples->kblock.taps[0]; at[0]++)
    for (at[1] = 0; at[1] < samples->kblock.taps[1]; at[1]++)
      for (at[2] = 0; at[2] < samples->kblock.taps[2]; at[2]++, index++)
        for (int d = 0; d < nd; d++)
          samples->points.tap[d][index] = (samples->kblock.tap[3 - nd + d] + at[3 - nd + d]) * s->dilation[3 - nd + d];
  samples->points.taps = index;
}

/* Rows `per_tap` a tap of offsets or masks: [tap * per_tap + i][pixel]. */
static void load_rows(ck_samples *samples, const ck_tensor *tensor, int64_t per_tap, char *out) {
  const ck_kernels *k = samples->sampler->kernels;
  const int64_t *kernel = samples->sampler->call->conv.shape.kernel, *size = samples->box.size;
  const int64_t *first = samples->box.first, *stride = tensor->stride, *tap = samples->kblock.tap;
  const int64_t joined = stride[3] == size[3] * stride[4] ? size[2] : 1; /* lines that follow one another */
  int64_t at[3];
  for (at[0] = tap[0]; at[0] < tap[0] + samples->kblock.taps[0]; at[0]++) {
    for (at[1] = tap[1]; at[1] < tap[1] + samples->kblock.taps[1]; at[1]++) {
      for (at[2] = tap[2]; at[2] < tap[2] + samples->kblock.taps[2]; at[2]++) {
        int64_t row = ((samples->group * kernel[0] + at[0]) * kernel[1] + at[1]) * kernel[2] + at[2];
        const char *from =
            (char *)tensor->data + first[0] * stride[0] + row * per_tap * stride[1] + first[3] * stride[4];
        for (int64_t line = 0; line < size[0] * size[1] * size[2]; line += joined) {
          const int64_t at_line = line / (size[1] * size[2]) * stride[0] +
                                  (first[1] + line / size[2] % size[1]) * stride[2] +
                                  (first[2] + line % size[2]) * stride[3];
          ck_load_rows(k, out + line * size[3] * k->real_size, samples->points.pixels, from + at_line, stride[1],
                       per_tap, stride[4], joined * size[3]);
        }
        out += per_tap * samples->points.pixels * k->real_size;
      }
    }
  }
}

/* Chooses between staging and reading in place, and where corners lie. */
static void set_region(ck_samples *samples) {
  const ck_sampler *sampler = samples->sampler;
  ck_points *p = &samples->points;
  int64_t positions = 1, room = most_places(sampler) - 1, place = sampler->vectors * sampler->kernels->vector;
  for (int d = p->nd - 1; d >= 0; d--) {
    int64_t extent = ck_max(0, p->most[d] - p->least[d] + 1);
    p->first[d] = p->least[d];
    p->step[d] = positions * place;
    positions = positions > room ? positions : positions * extent;
  }
  p->image_step = positions * place;
  positions = positions > room ? positions : positions * samples->box.size[0];
  samples->region = positions <= room ? positions + 1 : 0;
  p->nowhere = samples->region ? positions * place : -1;
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
  load_rows(samples, &call->offset, p->nd, p->offset);
  if (p->mask)
    load_rows(samples, &call->mask, 1, p->mask);
  k->deform_locate(p);
  set_region(samples);
  k->deform_corners(p);
}

/* The staged box of source coordinates. */
static void region_box(const ck_samples *samples, int64_t least[3], int64_t extent[3]) {
  const ck_points *p = &samples->points;
  for (int d = 0; d < 3; d++) {
    int axis = d - (3 - p->nd);
    least[d] = axis < 0 ? 0 : p->least[axis];
    extent[d] = axis < 0 ? 1 : ck_max(0, p->most[axis] - p->least[axis] + 1);
  }
}

/* Byte offset of row i of the staged boxes, one image after the other. */
static int64_t row_of(const ck_tensor *tensor, const int64_t least[3], const int64_t extent[3], int64_t i) {
  int64_t z = i / extent[1] % extent[0], n = i / extent[1] / extent[0];
  return n * tensor->stride[0] + (least[0] + z) * tensor->stride[2] + (least[1] + i % extent[1]) * tensor->stride[3];
}

static ck_view view_of(const ck_samples *samples, const ck_tensor *tensor, int64_t channel, int64_t apart,
                       int64_t lanes, char *image) {
  ck_view view = {.data = image, .lanes = lanes};
  if (!samples->region) {
    view.data = (char *)tensor->data + samples->box.first[0] * tensor->stride[0] + channel * tensor->stride[1];
    view.lane_stride = apart * tensor->stride[1];
    view.image_stride = tensor->stride[0];
    view.stride = tensor->stride + 5 - samples->points.nd;
  }
  return view;
}

/* The row that is staged so much later, of all lanes: they are more streams than the machine follows (a quarter of
 * staging's time on a Zen 4, 256 channels at 28x28). */
enum { ROWS_AHEAD = 2 };

static void fetch_rows(const char *row, int64_t lane, int64_t lanes, int64_t bytes) {
  for (int64_t i = 0; i < lanes; i++, row += lane)
    for (int64_t at = 0; at < bytes; at += 64)
      __builtin_prefetch(row + at);
}

ck_view ck_samples_stage(const ck_samples *samples, int64_t channel, int64_t apart, int64_t lanes, char *image) {
  static const int32_t first_row = 0;
  const ck_sampler *sampler = samples->sampler;
  const ck_kernels *k = sampler->kernels;
  const ck_tensor *x = &sampler->call->conv.x;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  const int64_t place = sampler->vectors * k->vector, vectors = ck_ceil_div(lanes, k->vector);
  int64_t least[3], extent[3], row = 0;
  if (!samples->region)
    return view_of(samples, x, channel, apart, lanes, image);
  region_box(samples, least, extent);
  char *from = (char *)x->data + samples->box.first[0] * x->stride[0] + channel * x->stride[1];
  ck_span span = {0, (int32_t)extent[2], least[2] * x->stride[4], x->stride[4]};
  ck_stage stage = {.src_end = ck_tensor_end(x, s->n, s->groups * s->c_in, s->in, k->real_size),
                    .images = 1,
                    .channels = 1,
                    .src_lane = apart * x->stride[1],
                    .dst_position = place,
                    .rows = 1,
                    .row_dst = &first_row,
                    .row_src = &row,
                    .spans = 1,
                    .span = &span};
  for (int64_t i = 0; i < samples->box.size[0] * extent[0] * extent[1] && extent[2]; i++) {
    row = row_of(x, least, extent, i);
    fetch_rows(from + row_of(x, least, extent, i + ROWS_AHEAD) + span.src, stage.src_lane, lanes,
               extent[2] * span.src_step);
    for (int64_t v = 0; v < vectors; v++) {
      stage.dst = image + (i * extent[2] * place + v * k->vector) * k->real_size;
      stage.src = from + v * k->vector * stage.src_lane;
      stage.lanes = ck_min(k->vector, lanes - v * k->vector);
      k->stage(&stage);
    }
  }
  memset(image + samples->points.nowhere * k->real_size, 0, (size_t)(place * k->real_size));
  return view_of(samples, x, channel, apart, lanes, image);
}

ck_view ck_samples_start(const ck_samples *samples, const ck_tensor *tensor, int64_t channel, int64_t lanes,
                         char *image) {
  const ck_kernels *k = samples->sampler->kernels;
  memset(image, 0, (size_t)(samples->region * samples->sampler->vectors * k->vector * k->real_size));
  return view_of(samples, tensor, channel, 1, lanes, image);
}

void ck_samples_add(const ck_samples *samples, const ck_tensor *tensor, int64_t channel, int64_t lanes,
                    const char *image) {
  const ck_kernels *k = samples->sampler->kernels;
  const int64_t *stride = tensor->stride, place = samples->sampler->vectors * k->vector;
  int64_t least[3], extent[3];
  region_box(samples, least, extent);
  char *to = (char *)tensor->data + samples->box.first[0] * stride[0] + channel * stride[1] + least[2] * stride[4];
  ck_drain drain = {.c = image,
                    .c_pixel = place,
                    .c_lane = 1,
                    .count = extent[2],
                    .lanes = lanes,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1],
                    .add = 1};
  for (int64_t i = 0; i < samples->box.size[0] * extent[0] * extent[1] && extent[2] && samples->region; i++) {
    drain.dst = to + row_of(tensor, least, extent, i);
    k->drain(&drain);
    drain.c = (const char *)drain.c + extent[2] * place * k->real_size;
  }
}

/* All taps of a run of pixels, then the next run's: what neighbours read of the image they read from level 1 for all
 * taps in turn, and not from level 2 for each (64 channels at 56x56 take 0.97 of the time, Zen 4). */
enum { RUN_PIXELS = 32 };

static void sample_runs(const ck_kernels *k, ck_sample *sample) {
  const int64_t pixels = sample->pixels, run = sample->pixel_step * k->real_size;
  char *out = sample->out;
  for (sample->pixel = 0; sample->pixel < pixels; sample->pixel += sample->pixels) {
    sample->pixels = ck_min(RUN_PIXELS, pixels - sample->pixel);
    sample->out = out + sample->pixel * run;
    k->sample(sample);
  }
}

void ck_samples_columns(ck_samples *samples, const ck_box *box, const ck_kblock *kb, int64_t first_channel, char *image,
                        char *out) {
  const ck_sampler *sampler = samples->sampler;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  int64_t step = ck_samples_tap_step(sampler, kb->channels), taps = ck_taps_of(kb->taps), lanes;
  int64_t per_group = s->groups * s->c_in / sampler->call->offset_groups;
  int64_t begin = first_channel + kb->channel, end = begin + kb->channels;
  for (int64_t c = begin; c < end; c += lanes) {
    lanes = ck_sampler_lanes(sampler, c, end);
    ck_samples_locate(samples, box, kb, c / per_group);
    ck_sample sample = {.points = &samples->points,
                        .image = ck_samples_stage(samples, c, 1, lanes, image),
                        .in_place = samples->region == 0,
                        .taps = taps,
                        .pixels = samples->points.pixels,
                        .out = out + (c - begin) * sampler->kernels->real_size,
                        .pixel_step = step * taps,
                        .tap_step = step};
    sample_runs(sampler->kernels, &sample);
  }
}

int ck_sampler_by_group(const ck_sampler *sampler) {
  const int64_t groups = sampler->call->conv.shape.groups, shared = sampler->call->offset_groups;
  return shared == 1 || (groups % shared == 0 && groups / shared % sampler->kernels->vector == 0);
}

void ck_samples_group_columns(ck_samples *samples, const ck_box *box, const ck_kblock *kb, int64_t first_channel,
                              int64_t groups, char *image, char *out) {
  const ck_sampler *sampler = samples->sampler;
  const ck_conv_shape *s = &sampler->call->conv.shape;
  const int64_t vector = sampler->kernels->vector, step = kb->channels * vector, taps = ck_taps_of(kb->taps);
  ck_samples_locate(samples, box, kb, first_channel / (s->groups * s->c_in / sampler->call->offset_groups));
  for (int64_t c = 0; c < kb->channels; c++) {
    ck_sample sample = {.points = &samples->points,
                        .image = ck_samples_stage(samples, first_channel + kb->channel + c, s->c_in, groups, image),
                        .in_place = samples->region == 0,
                        .taps = taps,
                        .pixels = samples->points.pixels,
                        .out = out + c * vector * sampler->kernels->real_size,
                        .pixel_step = step * taps,
                        .tap_step = step};
    sample_runs(sampler->kernels, &sample);
  }
}

void ck_samples_column_offsets(const ck_samples *samples, int64_t channel_step, int64_t tap_step, int32_t *pixels,
                               int32_t *rows) {
  const ck_kblock *kb = &samples->kblock;
  const int64_t taps = ck_taps_of(kb->taps);
  for (int64_t x = 0; x < samples->points.pixels; x++)
    pixels[x] = (int32_t)(x * taps * tap_step);
  for (int64_t c = 0; c < kb->channels; c++)
    for (int64_t t = 0; t < taps; t++)
      *rows++ = (int32_t)(t * tap_step + c * channel_step);
}
