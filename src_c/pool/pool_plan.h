/* How a pooling is cut: what folds see of the tensors, blocks of results, and scratch. */
#ifndef CK_POOL_PLAN_H
#define CK_POOL_PLAN_H

#include "base/arena.h"
#include "base/dispatch.h"
#include "pool_axis.h"

/* A tensor as folds see it: planes of positions, of `inner` neighbouring elements each: one, or channels that are
 * adjacent in memory. Planes are those of all images where one step leads through all of them, else those of one. */
typedef struct ck_pool_side {
  char *data;
  int64_t image, plane, space[3], inner; /* bytes */
} ck_pool_side;

/* The source is what is folded, the result what is written: x and y, or in the average's gradient y and x. A block is
 * `planes` planes' box of results; the lines, along x, that it needs of one source plane are brought together and
 * folded `lines` at a time, then the rows of their results along y, then the planes of those along z. */
typedef struct ck_pool_plan {
  const ck_kernels *k;
  int max, indexed;
  int split;    /* lines in their even and odd positions, of which each moves on by one where windows do by two */
  int gathered; /* small planes side by side: they are brought together as if they were adjacent channels */
  int fused;    /* folds along x and y at once, since windows of few taps overlap little */
  ck_pool_axis axis[3];
  ck_pool_side src, dst, indices;
  const char *src_end;
  int64_t images, planes, inner;
  ck_grid units;                    /* images, planes, elements of a position */
  ck_grid grid;                     /* units, depth, height, width of the result */
  int64_t lines, parts;             /* parts: of the windows, folded one after the other */
  int64_t line, row, plane, result; /* elements at most: of a line, its results, a plane's and the block's results */
  int64_t bytes;                    /* scratch of each thread */
} ck_pool_plan;

ck_pool_plan ck_pool_plan_make(const ck_pool *call, ck_pool_op op);

/* Whether rows are folded as those of every residue of the stride. */
static inline int ck_pool_in_phases(const ck_pool_plan *p) {
  return p->axis[2].backward && p->axis[2].irregular && !p->axis[2].adaptive && p->inner == 1;
}

/* Whether folding along an axis changes nothing. */
int ck_pool_is_trivial(const ck_pool_axis *axis);

/* Everything in scratch. */
typedef struct ck_pool_buffers {
  char *raw, *divided, *work[2], *phases, *rows, *planes,
      *result;         /* elements; codes, if any, `codes` bytes after them */
  int64_t codes, odd;  /* odd: elements from an even half to its other */
  char *sum, *divisor; /* of windows in parts; of elements of a row */
  double *divisors, *row_divisors, *scale;
  int64_t *sum_index, *row_index, *offset, *row_src;
  int32_t *first[3], *count[3], *row_dst;
  const char **line;
} ck_pool_buffers;

void ck_pool_place(const ck_pool_plan *plan, ck_arena *arena, ck_pool_buffers *buffers);

#endif
