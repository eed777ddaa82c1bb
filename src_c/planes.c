/* Planes at work: tasks over (groups, image, block of outputs). */
#include "planes.h"

#include <string.h>

#include "dense_block.h"
#include "planes_plan.h"

/* Offsets of a channel's weights in the order of its panel: phase by phase, plane by plane, tap columns outermost and
 * tap rows from the last to the first, so that neighbouring outputs' weights for one input row follow each other. */
static void set_weight_offsets(const ck_planes_plan *p, int64_t *off) {
  const ck_dense *d = p->d;
  const ck_axis *a = d->source.axis;
  const int64_t zs = ck_planes_classes(&a[0]), ys = ck_planes_classes(&a[1]), xs = ck_planes_classes(&a[2]);
  for (int64_t i = 0; i < zs * ys * xs; i++) {
    ck_tap_list z = ck_class_taps(&a[0], i / (ys * xs)), y = ck_class_taps(&a[1], i / xs % ys);
    ck_tap_list x = ck_class_taps(&a[2], i % xs);
    for (int64_t tz = 0; tz < z.count; tz++)
      for (int64_t tx = 0; tx < x.count; tx++)
        for (int64_t ty = y.count - 1; ty >= 0; ty--)
          *off++ = (z.first + tz * z.step) * d->w_tap[0] + (y.first + ty * y.step) * d->w_tap[1] +
                   (x.first + tx * x.step) * d->w_tap[2];
  }
}

static void sort_columns(const ck_planes_task *t) {
  const ck_axis *a = &t->p->d->source.axis[2];
  int32_t *xo = t->xo;
  for (int64_t i = 0; i < ck_planes_classes(a); i++) {
    ck_tap_list taps = ck_class_taps(a, i);
    for (int64_t j = 0; j < taps.count; j++)
      *xo++ = t->block.xo[taps.first + j * taps.step];
  }
}

/* Panels of `groups` groups, in as few calls as strides allow. Returns whether any weight was not finite. */
static int pack_weights(const ck_planes_task *t, int64_t group, int64_t lane, int64_t groups, int64_t lanes,
                        char *panel) {
  const ck_planes_plan *p = t->p;
  const ck_dense *d = p->d;
  const int64_t bytes = d->channels * p->taps * d->kernels->real_size;
  ck_pack pack = {.panel = panel,
                  .src = d->w + group * d->w_group + lane * d->w_lane,
                  .src_end = d->w_end,
                  .ld = 1,
                  .lanes = 1,
                  .nt = p->taps,
                  .t_off = t->w_off};
  if (d->channels == 1 && (groups == 1 || lanes == 1 || d->w_group == lanes * d->w_lane)) {
    pack.nc = groups * lanes;
    pack.c_stride = lanes > 1 ? d->w_lane : d->w_group;
    return d->kernels->pack(&pack);
  }
  int nonfinite = 0;
  pack.nc = d->channels;
  pack.c_stride = d->w_channel;
  for (int64_t i = 0; i < groups * lanes; i++) {
    pack.src = d->w + (group + i / lanes) * d->w_group + (lane + i % lanes) * d->w_lane;
    pack.panel = panel + i * bytes;
    nonfinite |= d->kernels->pack(&pack);
  }
  return nonfinite;
}

static double load_real(const ck_kernels *k, const char *at) {
  double value;
  float single;
  if (k->real_size == sizeof value) {
    memcpy(&value, at, sizeof value);
    return value;
  }
  memcpy(&single, at, sizeof single);
  return single;
}

static void run_group(ck_planes_task *t, int64_t group, char *panels, int nonfinite) {
  const ck_planes_plan *p = t->p;
  const ck_dense *d = p->d;
  const int64_t bytes = d->channels * p->taps * d->kernels->real_size;
  ck_planes_fill(&t->block, t->box.first[0], group * d->channels);
  for (int64_t lane = 0; lane < d->lanes; lane++) {
    int64_t channel = group * d->lanes + lane;
    t->w = panels + lane * bytes;
    t->bias = d->bias ? load_real(d->kernels, d->bias + channel * d->bias_stride) : 0;
    t->masked = nonfinite && t->block.padded && pack_weights(t, group, lane, 1, 1, panels + lane * bytes);
    t->image = (char *)d->dst.data + t->box.first[0] * d->dst.stride[0] + channel * d->dst.stride[1];
    ck_planes_channel(t);
  }
}

static void planes_task(ck_worker *worker, void *context, int64_t index) {
  const ck_planes_plan *p = context;
  const ck_dense *d = p->d;
  ck_planes_task t = {.p = p, .worker = worker};
  ck_arena arena = {.base = worker->scratch};
  ck_planes_place_task(p, &arena, &t);
  int64_t blocks = ck_grid_count(&p->grid), part = index / blocks;
  t.box = ck_grid_box(&p->grid, index % blocks);
  ck_planes_set(&t.block, &t.box, d->channels);
  sort_columns(&t);
  set_weight_offsets(p, t.w_off);
  t.bounded = ck_only_bounds(d->activation);
  ck_dense_bounds(d, &t.least, &t.most);
  int64_t end = d->groups * (part + 1) / p->parts, bytes = d->lanes * d->channels * p->taps * d->kernels->real_size;
  for (int64_t group = d->groups * part / p->parts; group < end; group += p->packed) {
    int64_t groups = ck_min(p->packed, end - group);
    int nonfinite = pack_weights(&t, group, 0, groups, d->lanes, t.panels);
    for (int64_t i = 0; i < groups && !ck_stopped(worker); i++)
      run_group(&t, group + i, t.panels + i * bytes, nonfinite);
  }
}

ck_status ck_planes(const ck_dense *d, const ck_run *run, int64_t *bytes) {
  ck_planes_plan p = ck_planes_make_plan(d, run->threads);
  if (bytes) {
    *bytes = ck_max(*bytes, run->threads * p.bytes);
    return CK_OK;
  }
  return p.tasks ? ck_parallel(p.tasks, planes_task, &p, run, run->workspace, p.bytes) : CK_OK;
}

/* Whether it can: there is something to sum, and a block fits. */
static int can(const ck_dense *d, const ck_planes_plan *p) { return p->bytes <= CK_THREAD_BYTES && d->n > 0; }

/* The other arrangements' estimates leave out what their transposes wait for: where both said the same, planes took
 * about two thirds of the time on the named layers. */
static const double FAVOUR = 0.67;

int ck_planes_wins(const ck_dense *d, int threads) {
  const int only = ck_arrangements_only() & d->arrangements, planes = 1 << CK_BY_PLANE;
  if (!(d->arrangements & planes) || (only && !(only & planes)) || d->fold || d->sampler || d->lanes == 0)
    return 0;
  int64_t taps = d->channels;
  for (int i = 0; i < 3; i++)
    taps *= ck_min(d->source.axis[i].taps, d->source.axis[i].outputs);
  if (taps == 0)
    return 0;
  ck_planes_plan p = ck_planes_make_plan(d, threads);
  ck_dense other = *d;
  return can(d, &p) && (only == planes || FAVOUR * p.cycles < ck_dense_make_plan(&other, threads).cycles);
}
