#include "dense_runs.h"

#include <string.h>

static int64_t step_of(const ck_axis *axis, int64_t outputs, int64_t taps) {
  return ck_axis_step(axis, ck_max(1, outputs), ck_max(1, taps));
}

ck_lane_runs ck_dense_lane_runs(const ck_dense *d, const ck_dense_plan *p, int in_place, const int64_t size[4],
                                const int64_t taps[3]) {
  const int64_t *stride = d->source.tensor.stride, item = d->kernels->real_size;
  const int64_t most = ck_dense_by_plane(d) ? 4 : 5; /* quarters; rows of a plane do without what lies between them */
  int64_t step[4] = {1, 1, 1, 1}, whole = 3, outputs = size[3];
  ck_lane_runs runs = {.lanes = size[3], .runs = 1};
  for (int i = 2; i >= 0; i--)
    step[i] = step[i + 1] * ck_axis_extent(&d->source.axis[i], ck_max(1, size[i + 1]), ck_max(1, taps[i]));
  for (int i = 1; i < 3 && in_place; i++)
    step[i] = stride[i + 1] / item;
  /* With a kernel that is cut windows change from k-block to k-block, and only rows are alike. */
  const int cut = p->reduction.parts[1] * p->reduction.parts[2] * p->reduction.parts[3] > 1;
  for (int i = 2; i >= 0 && whole == i + 1 && !cut; i--) {
    int beside = i > 0 ? step_of(&d->source.axis[i - 1], size[i], taps[i - 1]) == 1 : !in_place;
    int64_t lanes = (size[i] - 1) * step[i] + runs.lanes;
    if (size[i] > 1 && (!beside || 4 * lanes > most * outputs * size[i]))
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

int ck_dense_goes_straight(const ck_dense *d, const ck_lane_runs *runs, const int64_t size[4]) {
  const int64_t *stride = d->dst.stride, item = d->kernels->real_size;
  const int by_plane = ck_dense_by_plane(d);
  int straight = !d->fold && !d->tapped && (by_plane ? !d->add : runs->lanes >= d->kernels->vector) &&
                 runs->lanes == runs->outputs && d->phases[0] * d->phases[1] * d->phases[2] == 1 && stride[4] == item;
  if (runs->axis < 3 && size[2] > 1)
    straight &= stride[3] == size[3] * item;
  if (runs->axis < 2 && size[1] > 1)
    straight &= stride[2] == size[2] * size[3] * item;
  return straight && (runs->axis > 0 || size[0] == 1);
}
