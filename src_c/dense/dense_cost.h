/* What a task costs, in cycles: estimates that only have to rank arrangements and blocks. */
#ifndef CK_DENSE_COST_H
#define CK_DENSE_COST_H

#include "dense.h"

/* Multiply-adds are counted, a vector a cycle on each of the core's pipes; the rest is fitted to timings of random
 * layers on one core, as `convkit bench --fit` does. */
typedef struct ck_costs {
  double issue;            /* instructions a cycle */
  double latency;          /* of a multiply-add */
  double strip;            /* to start and end a register tile */
  double strip_vector;     /* a vector of it */
  double narrow;           /* what half a vector of lanes saves of a vector's multiply-adds: loads bound it (Zen 4) */
  double plane;            /* by plane, rows that share what they read */
  double plane_cut;        /* how many times as long it all takes where the kernel is cut: a window after the other */
  double turn;             /* an element that is transposed in registers, as it is read */
  double pack;             /* an element of a panel, transposed on the way */
  double pack_some;        /* the same of some of the taps, one by one */
  double pick;             /* one of a panel that lies ready, of whose taps some are not taken */
  double panel;            /* to begin one, and its tile */
  double panel_kept;       /* which part of that is left where it lies there from a turn before */
  double picked;           /* a product of a patch's rows, of one vector, for one of a whole block's */
  double patch;            /* to begin one of a block's patches */
  double patch_tap;        /* a tap of it */
  double tap;              /* by group, a product's place in the tables */
  double column;           /* a tap's tables, of columns */
  double stage_row;        /* a run of the window that is copied */
  double stage;            /* an element of it */
  double stage_apart;      /* one of those that lie apart */
  double stage_turned;     /* one that is transposed */
  double stage_groups[2];  /* one by group, as it lies or transposed */
  double stage_bands[2];   /* one in bands, by pixel or by channel */
  double stage_strided;    /* one of every third, fourth, ... column, run by run */
  double stage_second;     /* one of every second column */
  double stage_run;        /* a run of them */
  double stage_sorted;     /* a run shorter than a vector, out of sorted lines */
  double stage_alone;      /* single elements of lines whose others are for other planes */
  double drain_straight;   /* an element that the micro-kernel stores */
  double drain;            /* one that is stored from scratch */
  double drain_turned;     /* one that is transposed on the way */
  double drain_apart;      /* one whose neighbours in scratch are not its neighbours in memory */
  double drain_joined[2];  /* of up to four phases, of more, along a row */
  double drain_groups[3];  /* by group, of one phase, of several that are joined, of more */
  double drain_run;        /* a run of them */
  double drain_groups_run; /* a run by group */
  double level2, level3, memory; /* a byte that comes from there */
  double level2_bands;           /* one of bands */
  double level2_pixels;          /* one of planes by pixel, in place */
  double level2_met;             /* one of channels by pixel, in place, where rows meet in one set of level 1 */
  double memory_pixels; /* one from memory of planes by pixel, in place, by 10 layers of 30 MB and more (Zen 5) */
  double accumulators;  /* bytes of them that stay in level 1 */
  double kept[3];       /* up to which share of it level 1 keeps a source, level 2 a source, and weights */
  double tile;          /* Winograd's transforms, a vector, on two pipes: a tile's inputs, or outputs */
  double tile_weights;  /* and a channel's weights */
  double output;        /* by plane and by group, an output's place in the tables */
  double group[2];      /* another group of a task, by plane; another vector of groups, by group */
  double sheet;         /* sheets.h: to begin a plane, or those rows of it that share what they read */
  double sheet_row[2];  /* a row that a vector of columns reads, or, of every second one, two vectors */
  /* Gradients of the weight: a pixel that a tile packs; an element of the window; a row of sums that is added. Set by
   * hand, for a fit has no choice of these to time: with half or twice each, 11 layers take as long within 1 %. */
  double weight_pixel, weight_stage, weight_sums;
  double weight_swapped; /* lanes of channels: so many times the tiles' cycles, by 230 random layers */
  double weight_picked;  /* tap by tap, of those pixels that read no padding: so many times the tiles' cycles */
  double line;           /* a cache line that two threads store to at a time; set by hand */
  double task;           /* to begin one */
  double region;         /* for several threads to begin and end together, once more: some 3 us on a Zen 4 */
} ck_costs;

/* Changed by a fit alone, in a process that does nothing else; `changes` counts that, since plans that are remembered
 * follow from them. */
extern ck_costs ck_cost;
extern int64_t ck_cost_changes;

/* Of more bytes than these, level 3 holds too little from call to call: they come from memory. What a call reads,
 * beside what else is in use; what it reads by plane, and writes: of less, some takes 1.2 times as long if it is
 * fetched (Zen 4, one thread); and weights, with a network's others: on a Zen 4 with 32 MiB Winograd's 9 MB (256
 * channels) came as fast in ResNet-50 as alone, its 38 MB (512) took twice as long. */
enum { CK_FAR_SOURCE = 12 << 20, CK_FAR_PLANES = 28 << 20, CK_FAR_WEIGHTS = 16 << 20 };

double ck_region_cycles(const ck_run *run);

/* Winograd's transform of a tile, and of a channel's weights. */
double ck_tile_cycles(const ck_kernels *kernels);
double ck_tile_weights_cycles(const ck_kernels *kernels);

/* Rows in panels of balanced height, each register tile over k products in so many pieces. */
double ck_rows_cycles(const ck_kernels *kernels, double rows, double vectors, double k, double pieces);

/* To pack all weights, once. */
double ck_dense_pack_cycles(const ck_dense *dense, const ck_dense_plan *plan);

/* Of one task, what it waits for where another stores to the same cache lines: blocks of a plane, one beside the other,
 * share one for each output channel, or for each row of it, which both reach at about the same time. */
double ck_dense_shared_cycles(const ck_dense *dense, const ck_dense_plan *plan);

/* Of a call that reads in place, the block that a copy stands for, since its vectors would end past the tensor. */
double ck_dense_last_cycles(const ck_dense *dense, const ck_dense_plan *plan);

/* Of one task. */
double ck_dense_task_cycles(const ck_dense *dense, const ck_dense_plan *plan);

#endif
