#include "dense_patching.h"

/* How many patches outputs first..first+size-1 of an axis are, if it is cut, and what part of their products they take.
 */
static int64_t count_patches(const ck_axis *axis, int cut, int64_t first, int64_t size, int64_t *taken) {
  int64_t count = 0, at = first, tap, taps;
  for (int64_t n; at < first + size; at += n, count++) {
    n = cut ? ck_axis_alike(axis, at, first + size - at) : size;
    ck_axis_taken(axis, at, n, &tap, &taps);
    *taken += n * taps;
  }
  return count;
}

/* To count patches each tap of each is looked at, for all blocks that are tried: of so many a plan takes 1 ms. */
enum { MOST_LOOKS = 1024 };

int ck_dense_patch_axes(const ck_dense *d, int axes) {
  for (int i = 0; i < 3; i++) {
    const ck_axis *axis = &d->source.axis[i];
    int64_t looks = 0;
    for (int64_t at = 0; axes >> i & 1 && looks <= MOST_LOOKS && at < axis->outputs; looks += axis->taps)
      at += axis->taps > MOST_LOOKS ? axis->outputs : ck_axis_alike(axis, at, axis->outputs - at);
    if (looks > MOST_LOOKS)
      axes &= ~(1 << i);
  }
  return axes;
}

ck_patching ck_dense_patching(const ck_dense *d, int axes, const ck_grid *grid) {
  ck_patching all = {.most = 1, .mean = 1, .taken = 1};
  for (int i = 0; i < 3; i++) {
    const ck_axis *axis = &d->source.axis[i];
    int64_t most = 0, count = 0, taken = 0, first, size;
    for (int64_t part = 0; part < grid->parts[i + 1]; part++) {
      ck_grid_part(grid, i + 1, part, &first, &size);
      const int64_t here = count_patches(axis, axes >> i & 1, first, size, &taken);
      most = ck_max(most, here);
      count += here;
    }
    all.most *= most;
    all.mean *= all.along[i] = (double)count / (double)ck_max(1, grid->parts[i + 1]);
    all.taken *= (double)taken / ((double)axis->outputs * (double)axis->taps);
  }
  return all;
}
