#include "dense_runs.h"

#include <string.h>

static int64_t step_of(const ck_axis *axis, int64_t outputs, int64_t taps) {
  return ck_axis_step(axis, ck_max(1, outputs), ck_max(1, taps));
}

/* Whether so many runs of `lanes`, `step` apart, are no more vectors if they are one run. Runs of a vector or more go
 * straight to the output by themselves; shorter ones leave lanes empty, and are too few sums for a tile. */
static int fill_vectors(const ck_dense *d, int64_t runs, int64_t lanes, int64_t step) {
  const int64_t vector = d->kernels->vector;
  return !ck_dense_by_plane(d) && lanes < vector && (runs - 1) * step + lanes <= runs * vector;
}

/* Whether so many images, each of which is a run that goes straight to the output, take less time as one run, which
 * does not: for the vectors that are no more needed, all are stored twice. In bands nothing lies between images. 1x1 of
 * 23 to 200 channels takes 0.86 of the time on two rows of 238, of 32 to 64 on eight images of 14x14 0.96 (Zen 4,
 * AVX-512). */
static int save_vectors(const ck_dense *d, int64_t images, int64_t lanes, int64_t step) {
  enum { STORED = 6 }; /* products of a vector that take as long; set by hand */
  const int64_t vector = d->kernels->vector;
  const int64_t joined = ck_ceil_div((images - 1) * step + lanes, vector);
  const int64_t saved = images * ck_ceil_div(lanes, vector) - joined;
  const double products = (double)d->channels * (double)ck_axes_taps(d->source.axis);
  return lanes < vector || d->source.order == CK_BANDS || (double)saved * products > STORED * (double)joined;
}

ck_lane_runs ck_dense_lane_runs(const ck_dense *d, const ck_dense_plan *p, int in_place, const int64_t size[4],
                                const int64_t taps[3]) {
  const int64_t *stride = d->source.tensor.stride, item = d->kernels->real_size;
  const int64_t most = ck_dense_by_plane(d) ? 4 : 5; /* quarters; rows of a plane do without what lies between them */
  const int columns = d->source.order == CK_COLUMNS; /* with nothing between rows */
  int64_t step[4] = {1, 1, 1, 1}, whole = 3, outputs = size[3];
  ck_lane_runs runs = {.lanes = size[3], .runs = 1};
  for (int i = 2; i >= 0; i--)
    step[i] = step[i + 1] * (columns ? ck_max(1, size[i + 1])
                                     : ck_axis_extent(&d->source.axis[i], ck_max(1, size[i + 1]), ck_max(1, taps[i])));
  for (int i = 1; i < 3 && in_place; i++)
    step[i] = stride[i + 1] / item;
  /* With a kernel that is cut windows change from k-block to k-block, and only rows are alike. */
  const int cut = !columns && !in_place && p->reduction.parts[1] * p->reduction.parts[2] * p->reduction.parts[3] > 1;
  for (int i = 2; i >= 0 && whole == i + 1 && !cut; i--) {
    const ck_axis *axis = &d->source.axis[ck_max(i, 1) - 1];
    const int beside =
        columns || (in_place ? i > 0 && axis->step == 1 : i == 0 || step_of(axis, size[i], taps[i - 1]) == 1);
    int64_t lanes = (size[i] - 1) * step[i] + runs.lanes;
    const int dense = 4 * lanes <= most * outputs * size[i] || fill_vectors(d, size[i], runs.lanes, step[i]);
    const int alone = i == 0 && runs.lanes == outputs && !ck_dense_by_plane(d);
    if (size[i] > 1 && (!beside || !dense || (alone && !save_vectors(d, size[0], runs.lanes, step[0]))))
      break;
    runs.lanes = size[i] > 1 ? lanes : runs.lanes;
    outputs *= size[i];
    whole = i;
  }
  runs.outputs = outputs;
  runs.axis = (int)whole;
  runs.row = ck_round_up(runs.lanes, d->kernels->vector);
  for (int64_t i = whole - 1; i >= 0; i--) { /* run after run */
    step[i] = runs.row * runs.runs;
    runs.runs *= size[i];
  }
  memcpy(runs.step, step, sizeof step);
  return runs;
}

/* Whether the outputs of a box's axes from the given one on are at the step of its pixels. */
static int at_one_step(const ck_dense *d, int axis, const int64_t size[4]) {
  const int64_t *stride = d->dst.stride;
  int64_t run = size[3] * stride[4];
  int even = 1;
  for (int i = 2; i >= axis; run *= size[i--])
    even &= size[i] == 1 || stride[i > 0 ? i + 1 : 0] == run;
  return even;
}

int ck_dense_goes_straight(const ck_dense *d, const ck_lane_runs *runs, const int64_t size[4]) {
  const int64_t *stride = d->dst.stride, item = d->kernels->real_size;
  if (d->fold || d->tapped || d->phases[0] * d->phases[1] * d->phases[2] != 1 || d->arrangement == CK_BY_GROUP)
    return 0;
  if (d->arrangement == CK_BY_PIXEL)
    return d->lanes > 1 && stride[1] == item && at_one_step(d, 0, size);
  return (ck_dense_by_plane(d) ? !d->add : runs->lanes >= d->kernels->vector) && runs->lanes == runs->outputs &&
         stride[4] == item && at_one_step(d, ck_max(1, runs->axis), size) && (runs->axis > 0 || size[0] == 1);
}

/* Where fewer than one element of four has a tap, these are better stored to one by one, after the others were filled:
 * 30 to 8 channels, 3x3 with stride 3 on 23x148, dilated by 3, takes 1.27 times as long joined (Zen 4, AVX-512). */
int ck_dense_joins_phases(const ck_dense *d, const ck_dense_plan *p) {
  const int lanes = d->arrangement == CK_BY_PIXEL || d->arrangement == CK_BY_GROUP;
  const int64_t size[] = {d->dst_step[0], d->dst_step[1], d->dst_step[2]};
  int64_t all;
  return lanes && p->phase_parts == 1 && (p->phases > 1 || d->tapped) && !d->fold && !(d->tapped && d->add) &&
         d->dst.stride[4] == d->kernels->real_size && ck_product(size, 3, &all) && all <= CK_MOST_JOINED * p->phases;
}
