/* The scratch that a task of a plan takes: every table and buffer at its largest. */
#ifndef CK_DENSE_PLACE_H
#define CK_DENSE_PLACE_H

#include "dense.h"

/* By plane, the taps of one phase of a k-block, and the rows that share what they read: every `apart`-th, from the last
 * one on if it is below 0; none if it is 0. Elements first..end of a plane's window are more than padding, counted from
 * where its first row reads its first tap row. */
typedef struct ck_phase_taps {
  int64_t across, down, planes, s_tap, s_row, apart, first, end;
} ck_phase_taps;

/* Outputs of a block that read the same taps, a box, and which these are: its rows of the block's, and their tiles. */
typedef struct ck_patch {
  ck_box box;
  int64_t tap[3], taps[3];
  int64_t row, rows, height; /* height: of tiles that end where rows of an image do; or 0 */
  ck_row_panel *panels;
  int64_t k, ld;    /* products that it takes of a panel of so many lanes, for which they are listed; 0: they are not */
  int32_t *po, *ko; /* where those are in the panel, and in the window */
  int shared;       /* with other patches: the list is made for each tile */
} ck_patch;

typedef struct ck_buffers {
  ck_window window;
  ck_samples samples; /* in place of the window, of a deformable one */
  char *image, *columns;
  char *acc, *chain, *panel, *bias;
  int32_t *ko, *ro, *vo; /* vo: by channel, of each vector of lanes */
  ck_row_panel *panels;
  ck_patch *patches;
  int32_t *patch_po, *patch_ko; /* their lists of products */
  int32_t *ro_all;              /* rows before they are sorted by patches */
  int64_t *w_off; /* of the taps taken, from the first one's weights on, which begin w_base bytes after tap 0's */
  int64_t w_base;
  /* Of the taps taken: which they are of the k-block's, and their phases, counted from the task's first; each phase's
   * first row of the panel. */
  int32_t *tap, *tap_phase, *phase_start;
  /* Where weights lie ready, of the whole k-block's panel: each phase's first row, and of its taps those that are
   * taken, in runs: the first one, and how many. */
  int32_t *whole_start, *picked;
  int32_t *row, *ko_all; /* sorted by phase only: the panel row of each (channel, tap); window offsets of all taps */
  ck_phase_taps *phase_taps; /* of each phase */
  int32_t *places; /* of phases that are joined: of each output, from the accumulators on; and a row without sums */
  char *none;
} ck_buffers;

/* Lists of products that a block's patches have. */
int64_t ck_dense_patch_lists(const ck_dense_plan *plan);

void ck_dense_place(const ck_dense *dense, const ck_dense_plan *plan, ck_arena *arena, ck_buffers *buffers);

#endif
