#include "dense.h"

int ck_dense_is_plain(const ck_dense *d) {
  int plain = !d->source.act_y.data && !d->sampler && !d->fold && !d->tapped;
  for (int i = 0; i < 3; i++)
    plain &= d->phases[i] == 1 && d->source.axis[i].stride <= 1;
  return plain;
}

int ck_dense_is_depthwise(const ck_dense *d) {
  int zeros = 1;
  for (int i = 0; i < 3; i++)
    zeros &= d->source.axis[i].mode == CK_ZEROS || ck_axis_is_inside(&d->source.axis[i]);
  return zeros && d->channels == 1 && !d->add && !d->source.act_y.data && !d->sampler && !d->fold;
}

void ck_dense_activate_stored(const ck_dense *d, char *run, int64_t step, int64_t runs, int64_t count) {
  const int joined = count * d->kernels->real_size == step;
  for (int64_t i = 0; i < (joined ? 1 : runs) && !ck_only_bounds(d->activation); i++, run += step)
    d->kernels->activate(run, run, joined ? runs * count : count, d->activation, d->act_a, d->act_b);
}
