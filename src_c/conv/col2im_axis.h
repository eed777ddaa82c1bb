/* Which columns add up to which elements of x, along one axis: integer arithmetic only. */
#ifndef CK_COL2IM_AXIS_H
#define CK_COL2IM_AXIS_H

#include "base/arena.h"
#include "base/dispatch.h"

/* Tap `tap` of those that are taken, at position `at` of those that reach the box. */
typedef struct ck_col2im_link {
  int32_t tap, at;
} ck_col2im_link;

typedef struct ck_col2im_axis {
  int64_t in, out, pad_lo, pad_hi, stride, dilation;
  int mode;
  int64_t first, size, tap, taps; /* elements of x, and taps, that are taken */
  int64_t low, positions;         /* of y, that reach them */
  /* Of an outer axis: link[begin[i]] .. link[begin[i + 1] - 1] are those of element first + i. */
  int32_t *begin;
  ck_col2im_link *link;
  /* Of the innermost one: element first + i is sum i / stride of phase i % stride, of `phases`, whose taps are
   * phase_taps[begin[phase]] .. phase_taps[begin[phase + 1] - 1]. */
  int64_t phases;
  ck_column_tap *phase_taps;
} ck_col2im_axis;

ck_col2im_axis ck_col2im_axis_make(const ck_conv_shape *shape, int d);

/* The most positions that reach `size` elements by way of `taps` taps. */
int64_t ck_col2im_positions(const ck_col2im_axis *axis, int64_t size, int64_t taps);

/* Takes the tables for so many elements and taps out of scratch, for an outer axis or the innermost one. */
void ck_col2im_place_links(ck_col2im_axis *axis, int64_t size, int64_t taps, ck_arena *arena);
void ck_col2im_place_phases(ck_col2im_axis *axis, int64_t size, int64_t taps, ck_arena *arena);

/* Chooses elements and taps, and which positions reach them. */
void ck_col2im_axis_set(ck_col2im_axis *axis, int64_t first, int64_t size, int64_t tap, int64_t taps);
/* Then writes the tables. column: bytes from a tap's column to the next one's. */
void ck_col2im_set_links(ck_col2im_axis *axis);
void ck_col2im_set_phases(ck_col2im_axis *axis, int64_t column, int64_t item);

/* A tap that reads padding at a position of y, and the element that it repeats there: from {0, -1} on, each in turn,
 * until 0 is returned. */
typedef struct ck_col2im_repeat {
  int64_t tap, at, element;
} ck_col2im_repeat;
int ck_col2im_next_repeat(const ck_col2im_axis *axis, ck_col2im_repeat *repeat);

#endif
