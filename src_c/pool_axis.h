/* One axis of pooling, seen from either side: which inputs an output covers, and which outputs cover an input. */
#ifndef CK_POOL_AXIS_H
#define CK_POOL_AXIS_H

#include "geometry.h"

/* first, first + step, ...: `count` of them. */
typedef struct ck_progression {
  int64_t first, step, count;
} ck_progression;

typedef struct ck_pool_axis {
  int64_t in, out, kernel, stride, dilation, lo, hi;
  int64_t tap_step, out_step; /* of the taps and outputs that meet in one input */
  int adaptive, count_pad;
} ck_pool_axis;

ck_pool_axis ck_pool_axis_make(const ck_pool_shape *shape, int d);

/* Inputs under output o, first to last, and what an average over them is divided by. */
ck_progression ck_pool_window(const ck_pool_axis *axis, int64_t o);
int64_t ck_pool_divisor(const ck_pool_axis *axis, int64_t o);

/* Outputs whose window has input i, first to last. */
ck_progression ck_pool_covers(const ck_pool_axis *axis, int64_t i);

/* The part of p inside lo..hi-1. */
ck_progression ck_pool_clip(ck_progression p, int64_t lo, int64_t hi);

/* The hulls lo..hi-1 of the inputs under outputs o0..o0+n-1, and of the outputs that cover inputs i0..i0+n-1. */
void ck_pool_inputs(const ck_pool_axis *axis, int64_t o0, int64_t n, int64_t *lo, int64_t *hi);
void ck_pool_outputs(const ck_pool_axis *axis, int64_t i0, int64_t n, int64_t *lo, int64_t *hi);

#endif
