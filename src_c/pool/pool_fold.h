/* One block of a pooling at work, shared by its driver and the folds along its axes. */
#ifndef CK_POOL_FOLD_H
#define CK_POOL_FOLD_H

#include "base/parallel.h"
#include "pool_plan.h"

typedef struct ck_pool_block {
  const ck_pool_plan *p;
  ck_pool_buffers b;
  ck_worker *worker;
  int64_t until_poll; /* elements */
  int stopped;
  ck_box box;                                         /* of results */
  int64_t image, first_plane, planes, element, inner; /* the box's unit; gathered, `inner` is of whole vectors */
  int64_t lanes;                                      /* of `inner` elements those that there are */
  ck_pool_span span[3];                               /* for one part of the windows */
  int64_t code[3];                                    /* of a tap along each axis: what it adds to an index */
  int nan;                                            /* one was seen */
  int64_t row, plane;                                 /* elements from one line's or plane's results to the next's */
} ck_pool_block;

/* Sets everything that follows from the block and the part of the windows that begins at these taps. */
void ck_pool_block_set(ck_pool_block *block, const int64_t tap[3]);

/* Folds along axis d: `lines` lines of positions of `inner` elements each, the next line's src_line bytes on. They lie
 * in scratch one after the other, or, for the innermost axis alone, in place. Where two axes are fused, `lines` are
 * those of the second one's results. */
void ck_pool_fold_axis(ck_pool_block *block, int d, const char *src, int64_t src_line, int64_t lines, int64_t inner,
                       char *dst);

/* Whether lines must follow one another for that along the innermost axis. */
int ck_pool_needs_lines(const ck_pool_block *block);

#endif
