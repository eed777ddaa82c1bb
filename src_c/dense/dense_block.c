#include "dense_block.h"

ck_tile ck_dense_tile_at(const ck_dense *d, const ck_dense_plan *p, int64_t outer, int64_t tile) {
  int64_t vector = d->kernels->vector, first, group, lane;
  ck_tile t = {.ld = p->tile_lanes};
  if (d->arrangement == CK_BY_GROUP) {
    group = outer * vector;
    lane = tile;
    first = group * d->lanes + tile;
    t.lanes = ck_min(vector, d->groups - group);
    t.w_lane = d->w_group;
    t.dst_lane = d->lanes * d->dst.stride[1];
    t.bias_lane = d->lanes * d->bias_stride;
  } else {
    group = outer;
    lane = tile * p->tile_lanes;
    first = group * d->lanes + lane;
    t.lanes = ck_min(p->tile_lanes, d->lanes - lane);
    t.w_lane = d->w_lane;
    t.dst_lane = d->dst.stride[1];
    t.bias_lane = d->bias_stride;
  }
  if (ck_dense_by_plane(d))
    t.ld = 1;
  else if (d->arrangement == CK_BY_CHANNEL || t.lanes <= vector)
    t.ld = ck_round_up(t.lanes, vector);
  t.w = d->w + group * d->w_group + lane * d->w_lane;
  t.dst = (char *)d->dst.data + first * d->dst.stride[1];
  t.bias = d->bias ? d->bias + first * d->bias_stride : NULL;
  return t;
}
