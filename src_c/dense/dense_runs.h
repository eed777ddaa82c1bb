/* By channel: runs of neighbouring pixels on the lanes. */
#ifndef CK_DENSE_RUNS_H
#define CK_DENSE_RUNS_H

#include "dense.h"

/* By channel, how far the lanes of a block run: over rows, planes and images of the window and over what lies between
 * their outputs, where that is little; then the next run begins. */
typedef struct ck_lane_runs {
  int64_t lanes, outputs; /* of a run */
  int axis;               /* images, planes, rows, pixels: the first one that a run spans */
  int64_t runs, row;      /* row: lanes and the room after them, whole vectors */
  int64_t step[4];        /* of accumulators, from image to image, plane, row and pixel */
} ck_lane_runs;
ck_lane_runs ck_dense_lane_runs(const ck_dense *dense, const ck_dense_plan *plan, int in_place, const int64_t size[4],
                                const int64_t taps[3]);

/* Whether sums go straight to the output, from the micro-kernel's registers. By channel: nothing lies between the
 * outputs of a run, there or here. By pixel: lanes are neighbours there, and pixels at one step. */
int ck_dense_goes_straight(const ck_dense *dense, const ck_lane_runs *runs, const int64_t size[4]);

/* Whether register tiles end where the rows of an image do, if they can: by pixel, of one vector of lanes. */
static inline int ck_dense_ends_with_rows(const ck_dense *dense, const ck_dense_plan *plan) {
  return dense->arrangement == CK_BY_PIXEL && plan->tile_lanes <= dense->kernels->vector;
}

/* By pixel and by group, whether all elements of the output are stored row by row, whatever their phase, also those
 * that have no tap: each vector of neighbours in memory is transposed at once, wherever its sums lie. */
enum { CK_MOST_JOINED = 4 }; /* elements, for each of a phase */
int ck_dense_joins_phases(const ck_dense *dense, const ck_dense_plan *plan);

#endif
