/* One axis of an interpolation: what its outputs read, and which outputs read an element. */
#ifndef CK_RESIZE_AXIS_H
#define CK_RESIZE_AXIS_H

#include "base/geometry.h"

/* The elements that one output reads along one axis; first..last holds them all, and neither ever falls from one output
 * to the next. Up to four are written out with their weights. With antialias there may be any number of them, each of
 * which follows from the first element of the image, where the output lies, and what the weights have to add up to. */
typedef struct ck_taps {
  int64_t first, last, index[4], begin;
  double weight[4], at, total;
} ck_taps;

typedef struct ck_tap {
  int64_t index; /* negative: it reads nothing */
  double weight;
} ck_tap;

typedef struct ck_resize_axis {
  int64_t in, out, count;                /* count: taps of an output, at most */
  int64_t first_in, first_out, whole_in; /* where x and y begin in the image, and its size */
  int sampling;
  double times, over, before, after;
  int64_t ratio;       /* over / times if that is a whole number, without antialias; else 0 */
  double stretch;      /* of the kernel, with antialias; else 0 */
  const ck_taps *kept; /* of every output, or NULL */
} ck_resize_axis;

typedef struct ck_reach {
  int64_t first, end;
} ck_reach;

/* How many elements an antialiased output reads at most. */
int64_t ck_spread_count(const ck_resize_axis *axis);

/* The taps of output o, and number k of them. */
ck_taps ck_taps_at(const ck_resize_axis *axis, int64_t o);
ck_tap ck_tap_of(const ck_resize_axis *axis, const ck_taps *taps, int64_t k);

/* Outputs outside it read none of the elements first..last. */
ck_reach ck_reach_of(const ck_resize_axis *axis, int64_t first, int64_t last);

/* With what weight output o reads element i. */
double ck_weight_on(const ck_resize_axis *axis, int64_t o, int64_t i);

#endif
