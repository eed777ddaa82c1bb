/* What planes.c, planes_plan.c and planes_steps.c share: how a correlation is cut into tasks, and what a task does. */
#ifndef CK_PLANES_PLAN_H
#define CK_PLANES_PLAN_H

#include "planes.h"
#include "planes_block.h"

/* Taps of one phase of an axis: first, first + step, ... */
typedef struct ck_tap_list {
  int64_t first, step, count;
} ck_tap_list;

/* Phases of an axis: elements of the output for each output of the axis. Those with taps are in classes: tap t is of
 * class t % classes. */
int64_t ck_planes_phases(const ck_dense *dense, int axis);
int64_t ck_planes_classes(const ck_axis *axis);
ck_tap_list ck_class_taps(const ck_axis *axis, int64_t index);
ck_tap_list ck_phase_taps(const ck_axis *axis, int64_t phase);
int64_t ck_taps_before(const ck_axis *axis, int64_t index); /* of classes before this one */

typedef struct ck_planes_plan {
  const ck_dense *d;
  ck_reduction reduction;
  ck_grid grid;
  int64_t each, parts; /* groups of one task; how many such */
  int64_t packed;      /* groups whose weights are packed together */
  ck_planes_size size;
  int64_t taps, phases_x, classes_x;
  int64_t lines, ld; /* rows of outputs whose sums are kept at once, and elements from one to the next */
  int direct;        /* rows of sums go straight to the output */
  int chained;       /* sums go on over several planes */
  int64_t tasks, bytes;
  double cycles; /* estimated */
} ck_planes_plan;

ck_planes_plan ck_planes_make_plan(const ck_dense *dense, int threads);

/* A step of what is done for one output channel. */
typedef enum ck_step_kind {
  CK_STEP_SUMS,     /* a plane's sums in scratch */
  CK_STEP_OUTPUT,   /* a plane's sums, the last, with bias and bounds: to the output */
  CK_STEP_KEEP,     /* the same, in scratch */
  CK_STEP_ADD,      /* one k-block's sums to those before */
  CK_STEP_ACTIVATE, /* rows in scratch, by more than bounds */
  CK_STEP_JOIN,     /* rows in scratch to the output */
  CK_STEP_BLANK,    /* the row without any taps to rows of the output */
} ck_step_kind;

typedef struct ck_step {
  ck_step_kind kind;
  ck_plane plane;
  int64_t w; /* its weights, from the channel's first on */
  char *from;
  int64_t lines, columns, phases;
  int64_t to, to_row, to_pixel; /* in bytes from the channel's image */
} ck_step;

/* Steps are recorded for the first channel of a task, and taken again for all others, which differ in nothing but
 * their data; unless they are too many. */
enum { CK_MOST_STEPS = 48 };

typedef struct ck_planes_task {
  const ck_planes_plan *p;
  ck_worker *worker;
  ck_planes_block block;
  ck_box box;
  int64_t *w_off; /* [taps] in the order of a panel */
  int32_t *xo;    /* [taps of a row], class by class */
  char *panels;   /* [packed][lanes][channels][taps] */
  char *w;        /* that of the channel at hand */
  char *sum[3];   /* [lines][ld]: two of chains, one of totals */
  char *out;      /* [classes_x][lines][ld] */
  char *blank;    /* a row without taps: bias and activation alone */
  ck_step *step;
  int64_t steps;
  int recorded, too_many;
  char *image; /* of the channel at hand */
  int masked;  /* its weights are not finite, and there is padding */
  double bias, least, most;
  int bounded; /* the activation is none but these bounds */
} ck_planes_task;

void ck_planes_place_task(const ck_planes_plan *plan, ck_arena *arena, ck_planes_task *task);

/* All outputs of the block for the channel at hand. */
void ck_planes_channel(ck_planes_task *task);

#endif
