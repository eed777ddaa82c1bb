/* The plan of an interpolation: which channels are taken at once, blocks, tables and scratch. */
#ifndef CK_RESIZE_PLAN_H
#define CK_RESIZE_PLAN_H

#include "base/arena.h"
#include "base/dispatch.h"
#include "resize_axis.h"

/* Offsets and weights [taps][ld] along x: of outputs, what they read, or of inputs, what reads them. */
typedef struct ck_table {
  int64_t taps, ld; /* no taps: the table did not fit */
  int64_t *offset;
  void *weight; /* NULL: one tap of weight 1 */
} ck_table;

typedef struct ck_resize_plan {
  const ck_resize *call;
  const ck_kernels *k;
  int backward, copied;
  int rows_first; /* forward: rows are summed before they are resampled along x, not after; by the sizes alone */
  ck_resize_axis axis[3];
  ck_tensor x, y;         /* the call's, or, without data, those of copies in scratch */
  int64_t lanes, blocks;  /* channels taken at once, and how often in an image */
  int64_t each;           /* elements of a row at one x: few channels, if adjacent, count as positions of their own */
  int64_t x_step, y_step; /* bytes between a row's elements */
  ck_grid grid;           /* of (images * blocks, depth, height, width) of what is written */
  int64_t width, rows;    /* elements of a scratch row, and rows */
  int64_t row_bytes;
  int64_t table_pixel, table_lane; /* bytes that the table counts for an element of x, and for a channel */
  int shared_whole;                /* one table serves every block */
  ck_table shared, inverse;
  int64_t shared_bytes, bytes;
} ck_resize_plan;

typedef struct ck_resize_buffers {
  char *row, *x, *y;
  ck_table table, inverse;
  ck_reach *reach[2];
} ck_resize_buffers;

/* A part of the grid's first axis: some channels of an image. */
typedef struct ck_resize_part {
  char *x, *y; /* there, or in scratch */
  int64_t image, channel, channels, lanes;
} ck_resize_part;

ck_resize_plan ck_resize_plan_make(const ck_resize *call, ck_resize_op op);

/* Takes a thread's buffers out of scratch, or, from an arena without memory, only counts. */
ck_resize_buffers ck_resize_place(const ck_resize_plan *plan, ck_arena *arena);

/* What is computed once a call. */
void ck_resize_fill_shared(ck_resize_plan *plan);

/* The taps of outputs first.. of x: offsets by x's stride, of elements outside low..high-1 only that they are; of rows
 * that are summed first the offsets begin at low. */
void ck_resize_fill_table(const ck_resize_plan *plan, const ck_table *table, int64_t first, int64_t count, int64_t low,
                          int64_t high);

/* The part of a row of x that the outputs first.. are gathered from. */
ck_reach ck_resize_read(const ck_resize_plan *plan, int64_t first, int64_t count);

/* The other way: for inputs low..high-1 of x the outputs that read them, among over.first.., in their order, as offsets
 * into a row of scratch. The table has no taps where an input is read too often, or from too far. */
ck_table ck_resize_inverse_table(const ck_resize_plan *plan, ck_table table, ck_reach over, int64_t low, int64_t high);

/* Some channels of an image; load and store go between the caller's memory and the copies, if the plan has any. */
ck_resize_part ck_resize_part_at(const ck_resize_plan *plan, const ck_resize_buffers *buffers, int64_t index);
void ck_resize_load(const ck_resize_plan *plan, const ck_resize_part *part);
void ck_resize_store(const ck_resize_plan *plan, const ck_resize_part *part);

/* No byte of the part's x from here on is read. */
const char *ck_resize_x_end(const ck_resize_plan *plan, const ck_resize_part *part);

#endif
