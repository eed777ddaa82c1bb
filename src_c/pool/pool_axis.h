/* One axis of pooling, in the direction of a call: which of its sources each result is folded out of.
 *
 * Sources are read at positions, which leave out what no window touches.  Where a stride and a dilation have a common
 * divisor, only every so many sources have one; where windows have gaps between them, positions are the taps of one
 * result after the other. */
#ifndef CK_POOL_AXIS_H
#define CK_POOL_AXIS_H

#include "base/geometry.h"

typedef struct ck_pool_axis {
  int64_t in, out, kernel, stride, dilation, lo, hi; /* the call's; an even adaptive pooling is a moving one */
  int adaptive, count_pad, backward;
  int64_t sources, results;
  /* Result i is folded out of `taps` positions from i * step on, tap_step apart; or, `irregular`, out of as many as a
   * table says, from where it says. */
  int64_t step, taps, tap_step;
  int irregular;
  int64_t unit;          /* sources from one position to the next */
  int64_t run, run_step; /* of positions, until the next is run_step sources from the run's first; 0: no runs */
  int by_powers;         /* windows overlap so much that they are folded out of those of 1, 2, 4, ... taps */
  int64_t segment;       /* taps that are folded at once */
} ck_pool_axis;

ck_pool_axis ck_pool_axis_make(const ck_pool_shape *shape, int d, int backward);

/* The first, and how many. */
typedef struct ck_range {
  int64_t first, count;
} ck_range;

/* Inputs under output o, and what an average over them is divided by. */
ck_range ck_pool_window(const ck_pool_axis *axis, int64_t o);
int64_t ck_pool_divisor(const ck_pool_axis *axis, int64_t o);

/* Positions that n neighbouring results need at most, for `taps` taps of each. */
int64_t ck_pool_hull(const ck_pool_axis *axis, int64_t n, int64_t taps);

/* A block's part of an axis: results first..first+n-1, taps tap..tap+taps-1.  Position p is source
 * base + p / run * run_step + p % run * unit, outside the axis for p < lead and p >= end.  Lines of `length` positions
 * may follow one another: a result's window reaches at most into the next one's first `lead`. */
typedef struct ck_pool_span {
  int64_t n, tap, taps, base, lead, end, length, hull;
  int32_t *first, *count; /* irregular: in positions, for each result */
  int64_t least;          /* of a gradient: any count that is not 0 is this or one more */
} ck_pool_span;

void ck_pool_span_set(ck_pool_span *span, const ck_pool_axis *axis, int64_t first, int64_t n, int64_t tap);
static inline int64_t ck_pool_source(const ck_pool_span *s, const ck_pool_axis *a, int64_t p) {
  return a->run ? s->base + p / a->run * a->run_step + p % a->run * a->unit : s->base + p * a->unit;
}

#endif
