#include "dense_unpacked.h"

#include "dense_drain.h"
#include "unpacked.h"

/* A tile of the block, whose pixels are set: summed into the accumulators, one k-block after the other. */
static void sum_tile(const ck_block *b, const ck_tile *t) {
  const ck_dense *d = b->d;
  const ck_reduction *r = &b->p->reduction;
  const int64_t item = d->kernels->real_size, w_k = ck_unpacked_weight_step(d),
                strip = w_k == item ? d->kernels->turned_lanes : t->lanes;
  const int64_t blocks = r->parts[0], channels = d->channels, taps = ck_taps_of(r->taps);
  ck_unpacked u = {.rows = b->pixels, .w_k = w_k, .w_lane = d->w_lane, .ld = t->ld};
  const char *x = ck_unpacked_rows(d, &b->box, &u.x_row) + b->outer * d->channels * d->source.tensor.stride[1];
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

void ck_dense_run_unpacked(ck_block *b, int64_t tile, int64_t tile_end) {
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
