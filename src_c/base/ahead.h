/* Rows of channels that are neighbours in memory, fetched while others are worked off. */
#ifndef CK_AHEAD_H
#define CK_AHEAD_H

#include "dispatch.h"
#include "geometry.h"

/* Bytes of two arrays together from which on the row to come is fetched while one is summed. Depthwise 3x3 on 8 images
 * of 64 channels at 56x56, 12.8 MB, takes 0.7 of the time on one thread and 1.04 on two, 4 to 8 of 96 or 144 channels
 * 0.4 to 0.5; 9.6 MB, which level 3 holds, would take 1.1 (Zen 3). */
enum { CK_FAR_ROWS = 12 << 20 };

/* A row of columns from `from` on, `step` bytes apart, of each so many bytes; with each of `vectors` of sums its share.
 */
static inline ck_ahead ck_ahead_of(const char *from, int64_t columns, int64_t step, int64_t bytes, int64_t vectors) {
  const int joined = bytes == step;
  ck_ahead a = {.at = from, .bytes = joined ? columns * step : bytes, .apart = step};
  a.end = from + a.bytes;
  a.rate = ck_ceil_div((joined ? 1 : columns) * ck_ceil_div(a.bytes, 64) * 16, ck_max(1, vectors));
  return a;
}

/* Whether two arrays of so many elements come from memory. */
static inline int ck_are_far(const int64_t one[5], const int64_t other[5], int64_t item) {
  int64_t first, second;
  return !ck_product(one, 5, &first) || !ck_product(other, 5, &second) || first >= CK_FAR_ROWS / item ||
         second >= CK_FAR_ROWS / item - first;
}

/* The last of the rows of the source that outputs of row y + 1 are the first to read, or -1. */
static inline int64_t ck_row_ahead(const ck_axis *axis, int64_t y) {
  const int64_t row = ck_axis_at(axis, y + 1, axis->tap_step < 0 ? 0 : axis->taps - 1);
  return y + 1 < axis->outputs && row >= 0 && row < axis->source ? row : -1;
}

#endif
