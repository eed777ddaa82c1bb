/* The engine: a correlation over lists of taps, blocked, threaded, through the one micro-kernel.
 *
 *   dst[n][lane][o] = activation(bias + sum over (k, tap) of w[lane][k][tap] * src[n][k][base + o * step + tap offset])
 *
 * Forward convolution is one such correlation; the gradient of x, which is also transposed convolution, is one for each
 * residue (phase) of the stride, all of which share one window. Any strides serve any layout. */
#ifndef CK_DENSE_H
#define CK_DENSE_H

#include "sampler.h"
#include "window.h"

/* What rows and lanes are: the same sums in the same order, so that the cheapest may be taken. */
typedef enum ck_arrangement {
  CK_BY_PIXEL,   /* rows: pixels, broadcast; lanes: output channels */
  CK_BY_CHANNEL, /* rows: output channels, broadcast; lanes: neighbouring pixels */
  CK_BY_GROUP,   /* rows: pixels; lanes: groups */
  CK_UNPACKED,   /* rows: a few pixels; lanes: output channels; what both read is read where it is */
  CK_SHEETS,     /* 3x3 depthwise from memory to memory, lanes: neighbouring pixels (sheets.h) */
  CK_LINES,      /* depthwise from memory to memory, lanes: neighbouring channels (lines.h) */
  CK_ARRANGEMENTS,
} ck_arrangement;

/* Panels of weights are of an arrangement's kind, or, for Winograd's algorithm, points or taps. */
enum { CK_WINOGRAD_POINT_PANELS = CK_ARRANGEMENTS, CK_WINOGRAD_TAP_PANELS };

typedef struct ck_dense {
  const ck_kernels *kernels;
  int arrangements; /* those it may have, a bit each */
  /* Chosen by the plan, with the source's order. */
  ck_arrangement arrangement;
  int in_place; /* nothing is padding: the source is read where it is, and no window but of what lies at its end */
  int64_t n, groups, channels, lanes; /* reduction channels and output channels, per group */
  ck_source source;                   /* whole tensor; the axes of this correlation */
  const ck_sampler *sampler; /* not NULL: columns come from deformed positions, and source only has the sizes */
  const char *w, *w_end;
  int64_t w_group, w_channel, w_lane, w_tap[3]; /* bytes */
  int prepared;                                 /* weights lie ready, when it runs in `panels` */
  ck_panels panels;
  ck_tensor dst;
  int add; /* to what dst holds */
  const char *bias;
  int64_t bias_stride;
  int swapped; /* lanes are pixels, and rows output channels, with a bias each */
  int activation;
  double act_a, act_b;
  /* Output o of an axis stands for dst_size's elements o * dst_step .. (o + 1) * dst_step - 1, one of each phase: more
   * than one where the axis has a stride of its own. dst.stride steps by element. Either all dst_step phases are
   * computed, or, `tapped`, only those with a tap, numbered as by ck_tapped_phases: the others' elements stay. */
  int64_t phases[3], dst_step[3], dst_size[3];
  int tapped;
  /* Adding into the sources of padded positions (gradient of a padding mode, `fold`): element i of axis d stands for
   * padded coordinate fold_first[d] + i of an axis of fold_size[d]. */
  int fold;
  int64_t fold_first[3], fold_size[3];
} ck_dense;

/* Patches that blocks have: at most; on average along each axis, and in all; and which share of all products they take
 * (dense_patch.h). */
typedef struct ck_patching {
  int64_t most;
  double along[3], mean, taken;
} ck_patching;

/* How a dense correlation is cut: every field but the reduction may change without changing bits. */
typedef struct ck_dense_plan {
  double cycles;          /* estimated */
  int64_t level1, level2; /* bytes of the caches that it was made for */
  double taken;           /* share of the products that are taken, the others being padding */
  int patch_axes;         /* along which blocks are cut into patches (dense_patch.h), a bit each */
  ck_patching patching;   /* what that comes to */
  ck_reduction reduction;
  ck_grid grid;
  ck_window_size window;
  int64_t outer, tiles;           /* groups and lane tiles; by group: vectors of groups and output channels a group */
  int64_t each;                   /* of `outer`, how many a task works off for its block, whose tables serve all */
  int64_t turns;                  /* blocks that a task works off, one after the other */
  int64_t tile_lanes;             /* lanes of a full tile */
  int64_t tile_parts, part_tiles; /* how the tiles are split over tasks, and the largest part */
  int64_t pixels, kmax;           /* of the largest block */
  int far;                        /* whether the source comes from memory; by lines, both arrays */
  int64_t streams;                /* by channel, in place: planes that are read at a time; 0: all */
  int64_t phases, phase_parts, part_phases; /* of all axes, and how they are split over tasks */
  int sorted; /* whether taps differ in phase: then a task takes those of its phases, and sorts panel rows by them */
  int64_t acc_phase;    /* bytes of one phase's accumulators */
  int64_t tasks, bytes; /* scratch for each thread */
  int64_t packed;       /* bytes of the weights, which are packed once, for all tasks; 0: by each task, or not */
} ck_dense_plan;

/* A correlation at work, as the tasks of ck_parallel see it. */
typedef struct ck_dense_call {
  const ck_dense *d;
  ck_dense_plan plan;
  char *packed;       /* where weights go that all tasks share, or NULL */
  const char *panels; /* weights that lie ready, those or the caller's, or NULL */
} ck_dense_call;

/* A task's part, where lane tiles and phases are not split: of `outer`, and of the outputs. */
typedef struct ck_share {
  int64_t first, end;
  ck_box box;
} ck_share;
static inline ck_share ck_dense_share(const ck_dense_plan *p, int64_t index) {
  const int64_t boxes = ck_grid_count(&p->grid), first = index / boxes * p->each;
  return (ck_share){first, ck_min(p->outer, first + p->each), ck_grid_box(&p->grid, index % boxes)};
}

/* Whether each output is one sum over elements of the source as they are, stored in an element of its own. */
int ck_dense_is_plain(const ck_dense *dense);
/* Whether each is one sum over elements of one channel as they are, without the taps that read outside the source, and
 * nothing is added to it. */
int ck_dense_is_depthwise(const ck_dense *dense);

/* An activation that is more than bounds, of sums that were stored just now, with their bias: runs of `count` adjacent
 * elements, `step` bytes apart. */
void ck_dense_activate_stored(const ck_dense *dense, char *run, int64_t step, int64_t runs, int64_t count);

/* The caller's weights in panels of this kind, or NULL. */
static inline const char *ck_dense_ready(const ck_dense *d, int kind) {
  return d->panels.kind == kind ? d->panels.data : NULL;
}

/* By channel and with one channel only, blocks are planes: rows of the output share the rows that they read. */
static inline int ck_dense_by_plane(const ck_dense *d) { return d->arrangement == CK_BY_CHANNEL && d->lanes == 1; }

/* Whether a tile of so many lanes, by pixel, has strips of its own. */
static inline int ck_dense_is_narrow(const ck_kernels *k, int64_t lanes) {
  return 2 * lanes <= k->vector && k->narrow_strips[1] != NULL;
}

/* Whether what a register tile reads of the source lies together, product after product. */
static inline int ck_dense_is_sequential(const ck_dense *d) { return d->source.order == CK_BANDS; }

/* Elements from tap to tap of sampled columns. */
static inline int64_t ck_dense_column_step(const ck_dense *d, int64_t channels) {
  return d->arrangement == CK_BY_GROUP ? channels * d->kernels->vector : ck_samples_tap_step(d->sampler, channels);
}

/* Accumulators of this many phases are kept side by side; more are shared out to several tasks. */
enum { CK_TASK_PHASES = 16 };

/* Scratch a thread may use for one block: window, accumulators, panel and tables. Three quarters of a level 2 of
 * 1 MiB; 8 threads fit in 8 MiB. */
enum { CK_THREAD_BYTES = 768 * 1024 };
/* With sampled columns, which are larger: fewer blocks pack fewer panels (4 % of a 256-channel layer). */
enum { CK_SAMPLED_BYTES = 1024 * 1024 };

/* `most`, or a thread's share of the call's limit where that is less. */
static inline int64_t ck_thread_bytes(const ck_run *run, int64_t most) {
  return run->limit ? ck_min(most, run->limit / run->threads) : most;
}

/* Products of one k-block; larger ones gain no speed (measured: 384 to 576 +2 %, 576 to 1024 none), and spill level 1.
 */
static inline int64_t ck_kblock_cap(const ck_kernels *k) { return k->real_size == 4 ? 576 : 288; }

/* How a sum is cut into k-blocks. A kernel of up to four times as many taps is one for each channel: cut, each part
 * would have a window of its own, and depthwise 31x31 took 1.4 times as long (Zen 5). */
static inline ck_reduction ck_dense_reduction(const ck_kernels *k, int64_t channels, const int64_t taps[3]) {
  const int64_t cap = ck_kblock_cap(k), all = ck_taps_of(taps);
  return ck_reduction_make(channels, taps, all <= 4 * cap ? ck_max(cap, all) : cap);
}

#endif
