#include "dense_unpacked.h"

#include "unpacked.h"

void ck_dense_sum_unpacked(const ck_block *b, const ck_tile *t) {
  const ck_dense *d = b->d;
  const ck_reduction *r = &b->p->reduction;
  const int64_t item = d->kernels->real_size, w_k = ck_unpacked_weight_step(d),
                strip = w_k == item ? d->kernels->turned_lanes : t->lanes;
  const int64_t blocks = r->parts[0], channels = d->channels / blocks, more = d->channels % blocks;
  const int64_t taps = ck_taps_of(r->taps);
  ck_unpacked u = {.rows = b->pixels, .w_k = w_k, .w_lane = d->w_lane, .ld = t->ld};
  const char *x = ck_unpacked_rows(d, &b->box, &u.x_row) + b->outer * d->channels * d->source.tensor.stride[1];
  for (int64_t j = 0; j < t->lanes; j += strip) {
    u.lanes = ck_min(strip, t->lanes - j);
    u.to = b->b.acc + j * item;
    u.chain = b->b.chain;
    for (int64_t i = 0, done = 0; i < blocks; i++, done += u.k) {
      u.k = (channels + (i < more)) * taps;
      u.x = x + done * item;
      u.w = t->w + j * d->w_lane + done * w_k;
      u.add = i > 0;
      d->kernels->unpacked(&u);
    }
  }
}
