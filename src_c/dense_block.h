/* What dense_plan.c, dense.c and dense_drain.c share: one block of a correlation, at work. */
#ifndef CK_DENSE_BLOCK_H
#define CK_DENSE_BLOCK_H

#include "dense.h"
#include "memo.h"

/* By plane, the taps of one phase of a k-block, and the rows that share what they read: every `apart`-th, from the last
 * one on if it is below 0; none if it is 0. Elements first..end of a plane's window are more than padding, counted from
 * where its first row reads its first tap row. */
typedef struct ck_phase_taps {
  int64_t across, down, planes, s_tap, s_row, apart, first, end;
} ck_phase_taps;

typedef struct ck_buffers {
  ck_window window;
  ck_samples samples; /* in place of the window, of a deformable one */
  char *image, *columns;
  char *acc, *chain, *panel, *bias;
  int32_t *ko, *ro;
  ck_row_panel *panels;
  int64_t *w_off; /* of the taps taken, from the first one's weights on, which begin w_base bytes after tap 0's */
  int64_t w_base;
  /* Sorted by phase only. Of the taps taken: which they are of the k-block's, and their phases, counted from the
   * task's first; the panel row of each (channel, tap). Window offsets of all taps; each phase's first row. */
  int32_t *tap, *tap_phase, *row, *ko_all, *phase_start;
  ck_phase_taps *phase_taps; /* of each phase */
} ck_buffers;

void ck_dense_place(const ck_dense *dense, const ck_dense_plan *plan, ck_arena *arena, ck_buffers *buffers);

/* By channel, how far the lanes of a block run: over rows, planes and images of the window and over what lies between
 * their outputs, where that is little; then the next run begins. */
typedef struct ck_lane_runs {
  int64_t lanes, outputs; /* of a run */
  int axis;               /* images, planes, rows, pixels: the first one that a run spans */
  int64_t runs, row;      /* row: lanes and the room behind them, whole vectors */
  int64_t step[4];        /* of accumulators, from image to image, plane, row and pixel */
} ck_lane_runs;
ck_lane_runs ck_dense_lane_runs(const ck_dense *dense, const ck_dense_plan *plan, int in_place, const int64_t size[4],
                                const int64_t taps[3]);

/* All that a plan follows from. */
void ck_dense_add_to_key(ck_memo_key *key, const ck_dense *dense, int arrangements, const ck_run *run);

/* By pixel, for boxes of up to so many rows and columns of an image. */
ck_dense_plan ck_dense_plan_rows(ck_dense *dense, int64_t rows, int64_t columns);

double ck_dense_task_cycles(const ck_dense *dense, const ck_dense_plan *plan);

typedef struct ck_block {
  const ck_dense *d;
  const ck_dense_plan *p;
  ck_buffers b;
  ck_box box;
  int64_t outer, pixels; /* pixels: of the accumulators */
  const char *panel;     /* of the tile and k-block at work */
  int64_t pitch;         /* of accumulators by pixel, from row to row: pixels of a row, or more */
  int settled;           /* what follows, until the phases, is the box's */
  int64_t kblocks, kept; /* with taps, or before one that has; that of which the tables are, or -1 */
  ck_kblock kblock;      /* this one, and its taps */
  int64_t taken;
  const char *data;         /* that offsets count from: the window's, or the source's own */
  ck_lane_runs runs;        /* by channel */
  int in_place, straight;   /* straight: by channel, tiles are stored by the micro-kernel, without a drain */
  int64_t tap[3], taps[3];  /* those that are not padding for the whole block */
  int64_t phase, phase_end; /* the phases of this task */
  ck_worker *worker;
} ck_block;

/* A tile's place: its lanes, how many, and where they begin in weights, output and bias. */
typedef struct ck_tile {
  int64_t lanes, ld, w_lane, dst_lane, bias_lane;
  const char *w, *bias;
  char *dst;
} ck_tile;

ck_tile ck_dense_tile_at(const ck_dense *dense, const ck_dense_plan *plan, int64_t outer, int64_t tile);

/* The block's box, for these tiles. Whoever has changed the box or the phases sets settled to 0. */
void ck_dense_run_block(ck_block *block, int64_t tile, int64_t tile_end);

/* By channel and with one channel only, blocks are planes: rows of the output share the rows that they read. */
static inline int ck_dense_by_plane(const ck_dense *d) { return d->arrangement == CK_BY_CHANNEL && d->lanes == 1; }

/* Elements from tap to tap of sampled columns. */
static inline int64_t ck_dense_column_step(const ck_dense *d, int64_t channels) {
  return d->arrangement == CK_BY_GROUP ? channels * d->kernels->vector : ck_samples_pixel_step(d->sampler, channels);
}

/* One phase's part of the panel, and where its sums go. */
typedef struct ck_part {
  int64_t k;
  const ck_phase_taps *taps; /* by plane */
  const char *panel;
  const int32_t *ko;
  char *acc;
  int accumulate;
} ck_part;

/* The phase of a tap along an axis, as those of the correlation are numbered; it may be beyond them. */
int64_t ck_dense_phase_of(const ck_dense *dense, int axis, int64_t tap);

/* By plane: what ck_phase_taps says, of each phase of the task, and the product of one phase. */
void ck_dense_set_phase_taps(const ck_block *block);
void ck_dense_multiply_plane(ck_block *block, const ck_tile *tile, const ck_part *part);

/* By channel, where run r of a tile goes, if it goes straight to the output. Most blocks of a plane have but the first.
 */
ck_finish ck_dense_finish_at(const ck_block *block, const ck_tile *tile, int64_t r);

/* By channel, whether runs go straight to the output: nothing lies between their outputs, there or here. */
int ck_dense_goes_straight(const ck_dense *dense, const ck_lane_runs *runs, const int64_t size[4]);

/* Those of an activation that is bounds, else none. */
void ck_dense_bounds(const ck_dense *dense, double *low, double *high);

/* The tile's bias, or zeros, in scratch. */
void ck_dense_load_bias(const ck_block *block, const ck_tile *tile);

/* Bias, activation and store of one tile, whose accumulators begin at acc, one phase after the other, and are done
 * with. */
void ck_dense_drain(const ck_block *block, const ck_tile *tile, char *acc);

#endif
