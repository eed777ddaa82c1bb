#include "unpacked.h"

#include <string.h>

#include "dense_drain.h"

/* More rows are better off with weights that are packed once. */
enum { MOST_ROWS = 16 };
/* Lanes that are rows instead are as many as the kernel takes at a time, and of a sum that is worth storing it apart.
 */
enum { MOST_SWAPPED = 4, LEAST_BYTES = 64, LEAST_BYTES_APART = 1024 };

/* Joins an axis of this size to `count` elements that lie `step` bytes apart; 0 if then they do not. */
static int joins(int64_t size, int64_t stride, int64_t *count, int64_t *step) {
  if (size > 1 && *count > 1 && stride != *step * *count)
    return 0;
  if (size > 1 && *count == 1)
    *step = stride;
  *count *= size;
  return 1;
}

/* Bytes from product to product, where all of them are equally far apart; else 0. */
static int64_t product_step(int64_t channels, int64_t channel, const ck_axis *axis, const int64_t tap[3]) {
  int64_t step = 0, count = 1;
  for (int i = 2; i >= -1; i--) {
    if (!joins(i < 0 ? channels : axis[i].taps, i < 0 ? channel : tap[i], &count, &step))
      return 0;
  }
  return step;
}

/* No tap of any output is padding. */
static int reads_inside(const ck_axis *a) { return ck_axis_is_inside(a) && (a->stride == 0 || a->taps == 1); }

/* A block's rows, at the correlation's first channel, and from one to the next. */
static const char *rows_of(const ck_dense *d, const ck_box *box, int64_t *step) {
  const ck_tensor *t = &d->source.tensor;
  const char *first = (const char *)t->data + box->first[0] * t->stride[0];
  int64_t count = 1;
  *step = 0;
  for (int i = 2; i >= -1; i--) {
    const ck_axis *a = &d->source.axis[i < 0 ? 0 : i];
    if (i >= 0)
      first += ck_axis_at(a, box->first[i + 1], 0) * t->stride[i + 2];
    if (!joins(box->size[i + 1], i < 0 ? t->stride[0] : a->step * t->stride[i + 2], &count, step))
      return NULL;
  }
  return first;
}

/* Bytes from product to product of the weights: an element's, or else lanes are adjacent. */
static int64_t weight_step(const ck_dense *d) {
  return product_step(d->channels, d->w_channel, d->source.axis, d->w_tap);
}

int ck_unpacked_can(const ck_dense *d) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size, *stride = s->tensor.stride;
  const ck_box all = {.size = {d->n, s->axis[0].outputs, s->axis[1].outputs, s->axis[2].outputs}};
  int64_t taps[3], tap[3], rows, step;
  if (!ck_dense_is_plain(d))
    return 0;
  for (int i = 0; i < 3; i++) {
    taps[i] = s->axis[i].taps;
    tap[i] = stride[i + 2] * s->axis[i].tap_step;
    if (!reads_inside(&s->axis[i]))
      return 0;
  }
  const ck_reduction reduction = ck_dense_reduction(d->kernels, d->channels, taps);
  const int64_t cut = reduction.parts[1] * reduction.parts[2] * reduction.parts[3], count = ck_taps_of(taps);
  if (cut > 1 || d->channels / ck_max(1, reduction.parts[0]) * count * item < LEAST_BYTES)
    return 0;
  if (!ck_product(all.size, 4, &rows) || rows > MOST_ROWS || !rows_of(d, &all, &step))
    return 0;
  const int64_t w_step = weight_step(d);
  return product_step(d->channels, stride[1], s->axis, tap) == item && w_step != 0 &&
         (w_step == item || d->w_lane == item);
}

static ck_axis plain_axis(int64_t size) {
  return (ck_axis){.outputs = size, .source = size, .step = 1, .taps = 1, .tap_step = 1};
}

int ck_unpacked_swap(ck_dense *d) {
  ck_source *s = &d->source;
  const ck_box all = {.size = {d->n, s->axis[0].outputs, s->axis[1].outputs, s->axis[2].outputs}};
  const int64_t item = d->kernels->real_size, lanes = d->lanes;
  int64_t pixels = 1, dst = 0, step;
  if (!ck_dense_is_plain(d) || d->groups != 1 || lanes > MOST_SWAPPED || d->w_channel != item ||
      s->tensor.stride[1] != item || d->channels * item < (lanes > 1 ? LEAST_BYTES_APART : LEAST_BYTES))
    return 0;
  for (int i = 0; i < 3; i++) {
    if (s->axis[i].taps != 1 || !reads_inside(&s->axis[i]))
      return 0;
  }
  for (int i = 0; i < 4; i++) { /* along one axis alone */
    if (all.size[i] == 1)
      continue;
    if (pixels != 1)
      return 0;
    pixels = all.size[i];
    dst = d->dst.stride[i ? i + 1 : 0];
  }
  if (pixels < 2 * lanes)
    return 0;
  const char *rows = rows_of(d, &all, &step);
  s->tensor = (ck_tensor){.data = (void *)d->w, .stride = {0, item, 0, 0, d->w_lane}};
  for (int i = 0; i < 3; i++) {
    s->axis[i] = plain_axis(i == 2 ? lanes : 1);
    d->w_tap[i] = 0;
  }
  d->w = rows;
  d->w_lane = step;
  d->n = 1;
  d->lanes = pixels;
  const int64_t stride[5] = {0, dst, 0, 0, d->dst.stride[1]};
  memcpy(d->dst.stride, stride, sizeof stride);
  d->swapped = 1;
  d->arrangements = 1 << CK_UNPACKED;
  return 1;
}

/* A tile of the block, whose pixels are set: summed into the accumulators, one k-block after the other. */
static void sum_tile(const ck_block *b, const ck_tile *t) {
  const ck_dense *d = b->d;
  const ck_reduction *r = &b->p->reduction;
  const int64_t item = d->kernels->real_size, w_k = weight_step(d),
                strip = w_k == item ? d->kernels->turned_lanes : t->lanes;
  const int64_t blocks = r->parts[0], channels = d->channels, taps = ck_taps_of(r->taps);
  ck_unpacked u = {.rows = b->pixels, .w_k = w_k, .w_lane = d->w_lane, .ld = t->ld};
  const char *x = rows_of(d, &b->box, &u.x_row) + b->outer * d->channels * d->source.tensor.stride[1];
  for (int64_t j = 0; j < t->lanes; j += strip) {
    u.lanes = ck_min(strip, t->lanes - j);
    u.to = b->b.acc + j * item;
    u.chain = b->b.chain;
    for (int64_t i = 0, done = 0; i < blocks; i++, done += u.k) {
      u.k = ck_part_start(channels, blocks, i + 1) * taps - done;
      u.x = x + done * item;
      u.w = t->w + j * d->w_lane + done * w_k;
      u.add = i > 0;
      d->kernels->unpacked(&u);
    }
  }
}

/* A tile of pixels that are lanes: each of what were lanes, with the bias of all of them. */
static void drain_swapped(ck_block *b, ck_tile *t) {
  const ck_dense *d = b->d;
  const ck_box all = b->box;
  const int64_t row = t->ld * d->kernels->real_size;
  t->bias_lane = 0;
  b->pixels = b->pitch = b->box.size[3] = 1;
  for (int64_t i = 0; i < all.size[3]; i++) {
    b->box.first[3] = all.first[3] + i;
    t->bias = d->bias ? d->bias + b->box.first[3] * d->bias_stride : NULL;
    ck_dense_drain(b, t, b->b.acc + i * row);
  }
  b->box = all;
}

void ck_unpacked_run(ck_block *b, int64_t tile, int64_t tile_end) {
  for (int64_t i = tile; i < tile_end && !ck_stopped(b->worker); i++) {
    ck_tile t = ck_dense_tile_at(b->d, b->p, b->outer, i);
    b->pixels = ck_box_count(&b->box);
    b->pitch = b->box.size[3];
    sum_tile(b, &t);
    if (b->d->swapped)
      drain_swapped(b, &t);
    else
      ck_dense_drain(b, &t, b->b.acc);
  }
}
