/* From accumulators to the output: which pixels follow each other, in scratch and in the user's tensor. */
#include <string.h>

#include "dense_drain.h"

void ck_dense_load_bias(const ck_block *b, const ck_tile *t) {
  static const int64_t zero = 0;
  ck_pack pack = {.panel = b->b.bias,
                  .src = t->bias,
                  .src_end = t->bias,
                  .ld = t->ld,
                  .lanes = t->lanes,
                  .lane_stride = t->bias_lane,
                  .nc = 1,
                  .nt = 1,
                  .t_off = &zero};
  if (t->bias)
    b->d->kernels->pack(&pack);
  else
    memset(b->b.bias, 0, (size_t)(t->ld * b->d->kernels->real_size));
}

ck_finish ck_dense_finish_at(const ck_block *b, const ck_tile *t, int64_t r) {
  const ck_dense *d = b->d;
  const int64_t *stride = d->dst.stride, *size = b->box.size, *first = b->box.first;
  ck_finish finish = {.dst = t->dst,
                      .row = t->dst_lane,
                      .bias = b->b.bias,
                      .bounds = ck_bounds_of(d->activation, d->act_a, d->act_b),
                      .add = d->add};
  if (d->arrangement == CK_BY_PIXEL) {
    finish.row = stride[4];
    finish.lanes = t->lanes;
  }
  finish.dst += first[0] * stride[0] + first[1] * stride[2] + first[2] * stride[3] + first[3] * stride[4];
  if (r > 0) {
    int64_t y = r * b->runs.outputs / size[3], z = y / size[2], n = z / size[1];
    finish.dst += n * stride[0] + z % size[1] * stride[2] + y % size[2] * stride[3];
  }
  return finish;
}

int64_t ck_dense_runs_alike(const ck_block *b, int64_t *apart) {
  const int64_t *size = b->box.size;
  int axis = b->runs.axis - 1;
  while (axis > 0 && size[axis] == 1)
    axis--;
  *apart = axis >= 0 ? b->d->dst.stride[axis > 0 ? axis + 1 : 0] : 0;
  return axis < 0 || b->b.window.bands.count > 0 ? 1 : size[axis];
}

/* How accumulators of one phase lie in scratch; image, plane, row and pixel in bytes. */
typedef struct layout {
  int64_t c_pixel, c_lane, image, plane, row, pixel;
  int adjacent; /* all pixels follow each other */
} layout;

static layout layout_of(const ck_block *b, const ck_tile *t) {
  const int64_t *size = b->box.size, item = b->d->kernels->real_size, plane = size[2] * b->pitch;
  layout in = {.c_pixel = t->ld, .c_lane = 1, .image = size[1] * plane, .plane = plane, .row = b->pitch};
  if (b->d->arrangement == CK_BY_CHANNEL) {
    const int64_t *step = b->runs.step;
    in = (layout){
        .c_pixel = 1, .c_lane = b->runs.runs * b->runs.row, .image = step[0], .plane = step[1], .row = step[2]};
  }
  in.adjacent = (size[2] == 1 || in.row == size[3]) && (size[1] == 1 || in.plane == size[2] * size[3]);
  in.pixel = in.c_pixel * item;
  in.row *= in.pixel;
  in.plane *= in.pixel;
  in.image *= in.pixel;
  return in;
}

/* The f-th phase as one of each axis: its place within a step. */
static void phases_of(const ck_dense *d, int64_t f, int64_t phase[3]) {
  phase[0] = f / (d->phases[1] * d->phases[2]);
  phase[1] = f / d->phases[2] % d->phases[1];
  phase[2] = f % d->phases[2];
  for (int i = 0; i < 3 && d->tapped; i++)
    phase[i] = ck_tap_phase(&d->source.axis[i], phase[i]);
}

/* One run. With what the output holds added to them, sums get an activation that is more than bounds where they are
 * stored. */
static void drain_run(const ck_block *b, const ck_drain *drain) {
  const ck_dense *d = b->d;
  const int64_t item = d->kernels->real_size;
  d->kernels->drain(drain);
  if (!d->add)
    return;
  if (drain->dst_pixel == item) {
    ck_dense_activate_stored(d, drain->dst, drain->dst_lane, drain->lanes, drain->count);
    return;
  }
  const int columns = drain->dst_lane == item;
  for (int64_t j = 0; j < (columns ? 1 : drain->lanes); j++)
    ck_dense_activate_stored(d, drain->dst + j * drain->dst_lane, drain->dst_pixel, drain->count,
                             columns ? drain->lanes : 1);
}

/* Adds each padded position of an image into the source that it repeats. */
static void drain_folded(const ck_block *b, ck_drain *drain, const layout *in, const char *acc, char *image,
                         const int64_t phase[3]) {
  const ck_dense *d = b->d;
  int64_t at[3], offset[3];
  for (at[0] = 0; at[0] < b->box.size[1]; at[0]++) {
    for (at[1] = 0; at[1] < b->box.size[2]; at[1]++) {
      for (at[2] = 0; at[2] < b->box.size[3]; at[2]++) {
        int there = 1;
        for (int i = 0; i < 3; i++) {
          int64_t output = (b->box.first[i + 1] + at[i]) * d->dst_step[i] + phase[i];
          there &= output < d->dst_size[i];
          offset[i] = ck_map_axis(d->fold_first[i] + output, d->fold_size[i], d->fold) * d->dst.stride[i + 2];
        }
        if (!there)
          continue;
        drain->c = acc + at[0] * in->plane + at[1] * in->row + at[2] * in->pixel;
        drain->dst = image + offset[0] + offset[1] + offset[2];
        d->kernels->drain(drain);
      }
    }
  }
}

/* Stores an image of one phase, in runs of pixels as long as scratch and the output's strides let them be. */
static void drain_runs(const ck_block *b, ck_drain *drain, const layout *in, const char *acc, char *image) {
  const int64_t *stride = b->d->dst.stride, *size = b->box.size, *first = b->box.first;
  int64_t run = size[3], whole = 3; /* axes from `whole` on are one run */
  while (whole > 1 && in->adjacent && (size[whole - 1] == 1 || stride[whole] == run * stride[4]))
    run *= size[--whole];
  drain->count = run;
  image += first[1] * stride[2] + first[2] * stride[3] + first[3] * stride[4];
  for (int64_t z = 0; z < (whole > 1 ? size[1] : 1); z++) {
    for (int64_t y = 0; y < (whole > 2 ? size[2] : 1); y++) {
      drain->c = acc + z * in->plane + y * in->row;
      drain->dst = image + z * stride[2] + y * stride[3];
      drain_run(b, drain);
    }
  }
}

/* Stores an image of phase f and of those after it along the innermost axis, `together` in all. */
static void drain_phases(const ck_block *b, ck_drain *drain, const layout *in, const char *acc, char *image,
                         const int64_t phase[3], int64_t together) {
  const ck_dense *d = b->d;
  const int64_t *stride = d->dst.stride, *size = b->box.size, *first = b->box.first;
  int64_t x = first[3] * d->dst_step[2] + phase[2], left = d->dst_size[2] - x;
  int64_t step = together == 1 ? d->dst_step[2] : 1;
  drain->phases = together;
  drain->c_phase = b->p->acc_phase;
  drain->dst_pixel = step * stride[4];
  drain->count = ck_min(size[3] * together, (left + step - 1) / step);
  if (left <= 0)
    return;
  for (int64_t z = 0; z < size[1]; z++) {
    int64_t at_z = (first[1] + z) * d->dst_step[0] + phase[0];
    for (int64_t y = 0; y < size[2] && at_z < d->dst_size[0]; y++) {
      int64_t at_y = (first[2] + y) * d->dst_step[1] + phase[1];
      if (at_y >= d->dst_size[1])
        break;
      drain->c = acc + z * in->plane + y * in->row;
      drain->dst = image + at_z * stride[2] + at_y * stride[3] + x * stride[4];
      drain_run(b, drain);
    }
  }
}

/* Phases that are joined: how many elements along an axis the block stores, from `first` on. */
static int64_t joined_at(const ck_block *b, int axis, int64_t *first) {
  const ck_dense *d = b->d;
  *first = b->box.first[axis + 1] * d->dst_step[axis];
  return ck_max(0, ck_min(b->box.size[axis + 1] * d->dst_step[axis], d->dst_size[axis] - *first));
}

/* The phase of an element along an axis, or -1 where it has no tap. */
static int64_t phase_at(const ck_dense *d, int axis, int64_t element) {
  const int64_t residue = element % d->dst_step[axis];
  int64_t f = residue;
  if (d->tapped)
    for (f = d->phases[axis] - 1; f >= 0 && ck_tap_phase(&d->source.axis[axis], f) != residue;)
      f--;
  return f;
}

/* The places of an image's elements, row after row. Most tiles, and groups, of a box have them alike. */
static void set_places(ck_block *b, const layout *in, const char *acc) {
  const ck_dense *d = b->d;
  if (b->placed == acc && b->placed_pixel == in->pixel)
    return;
  b->placed = acc;
  b->placed_pixel = in->pixel;
  enum { MOST_BESIDE = CK_MOST_JOINED * CK_TASK_PHASES };
  const int64_t step = d->dst_step[2], none = b->b.none - acc;
  int64_t first, beside[MOST_BESIDE], count[3];
  int32_t *to = b->b.places;
  for (int i = 0; i < 3; i++)
    count[i] = joined_at(b, i, &first);
  for (int64_t x = 0; x < step; x++)
    beside[x] = phase_at(d, 2, x) * b->p->acc_phase;
  for (int64_t z = 0; z < count[0]; z++) {
    const int64_t phase_z = phase_at(d, 0, z);
    for (int64_t y = 0; y < count[1]; y++, to += count[2]) {
      const int64_t phase_y = phase_at(d, 1, y), taps = phase_z >= 0 && phase_y >= 0;
      int64_t at = z / d->dst_step[0] * in->plane + y / d->dst_step[1] * in->row;
      at += (phase_z * d->phases[1] + phase_y) * d->phases[2] * b->p->acc_phase;
      for (int64_t x = 0; x < count[2]; x += step, at += in->pixel)
        for (int64_t i = 0; i < step; i++)
          to[x + i] = (int32_t)(taps && beside[i] >= 0 ? at + beside[i] : none);
    }
  }
}

/* Stores an image of all phases, in runs as long as the output's strides let them be. */
static void drain_places(const ck_block *b, ck_drain *drain, const char *acc, char *image) {
  const ck_dense *d = b->d;
  const int64_t *stride = d->dst.stride;
  int64_t first[3], count[3], whole = 2; /* axes from `whole` on are one run */
  for (int i = 0; i < 3; i++)
    count[i] = joined_at(b, i, &first[i]);
  int64_t run = count[2];
  while (whole > 0 && count[whole] == d->dst_size[whole] && stride[whole + 1] == run * stride[4])
    run *= count[--whole];
  drain->c = acc;
  drain->count = run;
  drain->places = b->b.places;
  image += first[0] * stride[2] + first[1] * stride[3] + first[2] * stride[4];
  for (int64_t z = 0; z < (whole > 0 ? count[0] : 1); z++) {
    for (int64_t y = 0; y < (whole > 1 ? count[1] : 1); y++) {
      drain->dst = image + z * stride[2] + y * stride[3];
      drain_run(b, drain);
      drain->places += run;
    }
  }
}

/* Bias and activation of a tile's sums in scratch, where the activation is more than bounds. */
static void activate_sums(const ck_block *b, const ck_tile *t, const layout *in, char *acc) {
  const ck_dense *d = b->d;
  int by_channel = d->arrangement == CK_BY_CHANNEL;
  ck_sums sums = {.rows = by_channel ? t->lanes : b->pixels,
                  .ld = by_channel ? in->c_lane : t->ld,
                  .bias = t->bias ? b->b.bias : NULL,
                  .bias_of_row = by_channel,
                  .activation = d->activation,
                  .a = d->act_a,
                  .b = d->act_b};
  for (int64_t f = b->phase; f < b->phase_end; f++, acc += b->p->acc_phase) {
    sums.c = acc;
    d->kernels->activate_sums(&sums);
  }
  if (!ck_dense_joins_phases(d, b->p))
    return;
  sums.c = b->b.none;
  sums.rows = 1;
  d->kernels->activate_sums(&sums);
}

void ck_dense_drain(ck_block *b, const ck_tile *t, char *acc) {
  const ck_dense *d = b->d;
  const ck_bounds bounds = ck_bounds_of(d->activation, d->act_a, d->act_b);
  layout in = layout_of(b, t);
  ck_drain drain = {.c_pixel = in.c_pixel,
                    .c_lane = in.c_lane,
                    .count = 1,
                    .lanes = t->lanes,
                    .dst_pixel = d->dst.stride[4],
                    .dst_lane = t->dst_lane,
                    .bias = b->b.bias,
                    .bounds = &bounds,
                    .add = d->add || d->fold};
  const int joins = ck_dense_joins_phases(d, b->p);
  ck_dense_load_bias(b, t);
  if (joins)
    memset(b->b.none, 0, (size_t)(t->ld * d->kernels->real_size));
  if (!ck_only_bounds(d->activation) && !d->add) {
    activate_sums(b, t, &in, acc);
    memset(b->b.bias, 0, (size_t)(t->ld * d->kernels->real_size));
  }
  for (int64_t n = 0; n < b->box.size[0]; n++) {
    char *image = t->dst + (b->box.first[0] + n) * d->dst.stride[0];
    const char *from = acc + n * in.image;
    if (joins) {
      if (n == 0 || d->tapped)
        set_places(b, &in, from);
      drain_places(b, &drain, from, image);
      continue;
    }
    for (int64_t f = b->phase, together = 1; f < b->phase_end; f += together, from += together * b->p->acc_phase) {
      int64_t phase[3];
      phases_of(d, f, phase);
      int row = !d->fold && !d->tapped && phase[2] == 0 && f + d->phases[2] <= b->phase_end;
      together = row ? d->phases[2] : 1;
      if (d->fold)
        drain_folded(b, &drain, &in, from, image, phase);
      else if (b->p->phases == 1 && !d->tapped)
        drain_runs(b, &drain, &in, from, image);
      else
        drain_phases(b, &drain, &in, from, image, phase, together);
    }
  }
}
