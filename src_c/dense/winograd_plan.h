/* How Winograd's algorithm is cut: tiles, chunks of channels, scratch. */
#ifndef CK_WINOGRAD_PLAN_H
#define CK_WINOGRAD_PLAN_H

#include "dense_plan.h"
#include "winograd_tiles.h"

/* Tiles of a row that are computed again together, at most. */
enum { CK_WINOGRAD_AGAIN = 8 };

typedef struct ck_winograd_plan {
  double cycles;        /* estimated */
  ck_dense_plan direct; /* of a row of tiles that are computed again; lane tiles are its */
  ck_window_size window;
  ck_grid grid;                   /* of tiles, of the largest phase: images, planes, rows, columns */
  int64_t phases[2], tiles;       /* tiles: of the largest box */
  int64_t inputs;                 /* tiles of inputs for them: of planes that the first axis's taps reach, too */
  int64_t tile_parts, part_tiles; /* of lane tiles, as a dense plan's */
  int64_t chunk;                  /* channels that are multiplied at a time, whole vectors */
  int64_t formed; /* products of each point that a task forms at a time, where weights are not shared: whole vectors */
  int64_t v_tile; /* channels of an input tile that lie together: those of a chunk, or all */
  int64_t v_point, u_point, m_point; /* elements from point to point: of inputs, weights and sums */
  int64_t sums;                      /* lane tiles whose sums are kept at a time: those of the task, or one */
  int shared; /* weights are transformed once, for all tasks, or lie ready as points; else by each, or from taps */
  /* Inputs are transformed once, for all tasks of a round of so many boxes, by so many tasks a box; 0: by each task. */
  int64_t round, input_tasks;
  int64_t weight_bytes, input_bytes, bytes, boxes, tasks;
} ck_winograd_plan;

typedef struct ck_winograd_buffers {
  unsigned char *again; /* [lane tile of the task][tile] */
  int64_t kept;         /* bytes up to here are kept while tiles are computed again */
  ck_window window;
  char *v, *u, *m, *weights, *out;
  int32_t *ko, *ro;
  ck_row_panel *panels;
  void *bias;
} ck_winograd_buffers;

/* Whether the correlation has 3x3 taps along the last two axes, and neither stride nor fold. */
int ck_winograd_can(const ck_dense *dense);

ck_winograd_plan ck_winograd_make_plan(const ck_dense *dense, const ck_run *run);
void ck_winograd_place(const ck_dense *dense, const ck_winograd_plan *plan, ck_arena *arena,
                       ck_winograd_buffers *buffers);
/* The outputs of one phase of a dilated kernel, as a correlation of their own; and its windows, a vector of channels at
 * each position. */
ck_dense ck_winograd_phase(const ck_dense *dense, const ck_winograd_plan *plan, int64_t phase);
ck_source ck_winograd_source(const ck_dense *phase);

/* What lies ready of weights, points or taps, and its bytes: of a lane tile's, and of all. */
static inline int ck_winograd_kind(const ck_winograd_plan *plan) {
  return plan->shared ? CK_WINOGRAD_POINT_PANELS : CK_WINOGRAD_TAP_PANELS;
}
int64_t ck_winograd_tile_bytes(const ck_dense *dense, const ck_winograd_plan *plan);
int64_t ck_winograd_panels(const ck_dense *dense, const ck_winograd_plan *plan);

#endif
