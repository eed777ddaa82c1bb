/* Pooling's plan and its two halves: sums and maxima over windows, and moves by index. */
#ifndef CK_POOL_H
#define CK_POOL_H

#include "dispatch.h"
#include "parallel.h"
#include "pool_axis.h"
#include "window.h"

/* What the lanes of a vector are. */
typedef enum ck_pool_lanes {
  CK_POOL_ROW,    /* neighbouring results along the innermost axis of one plane */
  CK_POOL_STAGED, /* channels, brought together in scratch */
  CK_POOL_DIRECT, /* channels adjacent in memory, read in place; those past the last whole vector are staged */
} ck_pool_lanes;

enum { CK_POOL_USERS = 1024 };

/* The source is what is summed, the result what is written: x and y, or in the average's gradient y and x. */
typedef struct ck_pool_plan {
  const ck_pool *call;
  const ck_kernels *k;
  int max, backward, indexed;
  ck_pool_axis axis[3];
  ck_tensor src, dst, indices;
  const char *src_end;
  int64_t src_size[3], dst_size[3];
  int64_t images, channels; /* all images' channels may be lanes of one */
  ck_pool_lanes lanes;
  int64_t vectors, units;             /* most vectors of a unit; units of an image */
  int64_t width, stage_rows;          /* source positions of a staged row at most, rows staged at once */
  int64_t row_groups, row_ld, phases; /* of a row of results: groups, elements of each; phases of the source */
  ck_grid grid;                       /* units of all images, depth, height, width of the result */
  int64_t bytes;                      /* scratch of each thread */
} ck_pool_plan;

ck_pool_plan ck_pool_plan_make(const ck_pool *call, ck_pool_op op, int threads);

/* Everything in scratch. */
typedef struct ck_pool_buffers {
  char *raw, *split, *h, *h_index, *acc, *joined, *lane, *divisor;
  int64_t *acc_index, *list, *first, *counts, *row_src;
  int32_t *row_dst;
  ck_pool_taps *taps;
  ck_progression *users; /* results that cover each source row of a block's, as far as there is room */
} ck_pool_buffers;

void ck_pool_place(const ck_pool_plan *plan, ck_arena *arena, ck_pool_buffers *buffers);

ck_progression ck_pool_taps_of(const ck_pool_plan *plan, int d, int64_t result);  /* sources of a result */
ck_progression ck_pool_users_of(const ck_pool_plan *plan, int d, int64_t source); /* results of a source */

/* The average of whole planes, global pooling, has an order of its own, by shape alone: 16 partial sums. */
int ck_pool_is_whole(const ck_pool_shape *shape);
int64_t ck_pool_whole_bytes(const ck_pool *call); /* of scratch, for each thread */
ck_status ck_pool_whole_run(const ck_pool *call);

/* Bytes between neighbours if a plane's elements are evenly spaced in row-major order, else 0. */
int64_t ck_pool_even_step(const ck_tensor *tensor, const int64_t size[3]);

ck_status ck_pool_points_run(const ck_pool *call, ck_pool_op op);

#endif
