/* One axis of an interpolation: what its outputs read, and which outputs read an element. */
#ifndef CK_RESIZE_AXIS_H
#define CK_RESIZE_AXIS_H

#include "base/geometry.h"

/* The elements that one output reads along one axis, and with which weights; first..last holds them all, and neither
 * ever falls from one output to the next. */
typedef struct ck_taps {
  int64_t index[4], first, last;
  double weight[4];
} ck_taps;

typedef struct ck_resize_axis {
  int64_t in, out, count;                /* count: taps of an output */
  int64_t first_in, first_out, whole_in; /* where x and y begin in the image, and its size */
  int sampling;
  double times, over, before, after;
  const ck_taps *kept; /* of every output, or NULL */
} ck_resize_axis;

typedef struct ck_reach {
  int64_t first, end;
} ck_reach;

/* The taps of output o. */
ck_taps ck_taps_at(const ck_resize_axis *axis, int64_t o);

/* Outputs outside it read none of the elements first..last. */
ck_reach ck_reach_of(const ck_resize_axis *axis, int64_t first, int64_t last);

/* With what weight output o reads element i. */
double ck_weight_on(const ck_resize_axis *axis, int64_t o, int64_t i);

#endif
