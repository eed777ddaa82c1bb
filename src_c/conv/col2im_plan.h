/* How columns are added up: boxes of x, rows of columns, scratch. */
#ifndef CK_COL2IM_PLAN_H
#define CK_COL2IM_PLAN_H

#include "base/parallel.h"
#include "col2im_axis.h"
#include "conv_dense.h"

/* Panels that are packed together: what is read of a product's weights, which may lie a page from the next one's, then
 * serves all of these. */
enum { CK_COL2IM_PANELS = 4 };

typedef struct ck_col2im_plan {
  const ck_conv *call;
  const ck_kernels *k;
  int multiplied, transposed, adjoining; /* multiplied: columns are products, or else y */
  int in_place;                          /* products read y where it lies */
  int few;                               /* positions at a time: rows of weights are read where they lie, once */
  ck_source y;
  ck_grid grid;                /* of x */
  ck_reduction rows, channels; /* (channel, tap), and what a product sums over */
  ck_window_size size;         /* of y's window */
  ck_col2im_axis axis[3];
  int64_t most_rows, most_channels; /* of a task: its rows, and their channels */
  int64_t column, pitch, row;       /* elements: from column to column, phase to phase, and row to row of sums */
  int64_t positions;                /* of a box of the largest, as columns have them */
  int64_t bytes;
} ck_col2im_plan;

typedef struct ck_col2im_buffers {
  ck_window y;
  ck_col2im_axis axis[3];
  char *columns, *sums, *panels, *weight, *bias;
  char *totals;    /* of few positions: their products */
  int64_t *offset; /* of links of the middle axis, or of products */
  int32_t *ko;
} ck_col2im_buffers;

ck_col2im_plan ck_col2im_make_plan(const ck_conv *call, int multiplied, int transposed);
void ck_col2im_place(const ck_col2im_plan *plan, ck_arena *arena, ck_col2im_buffers *buffers);

/* Bytes of one panel of weights. */
int64_t ck_col2im_panel_bytes(const ck_col2im_plan *plan);

/* Whether the rows of a channel are cut. */
int ck_col2im_has_parts(const ck_col2im_plan *plan);

/* From one image's elements of a column to the next one's: products that read in place write whole vectors. */
int64_t ck_col2im_image_pitch(const ck_col2im_plan *plan, int64_t positions);
int64_t ck_col2im_tasks(const ck_col2im_plan *plan);

#endif
