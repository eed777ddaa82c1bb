#include "dense_patch.h"

#include <string.h>

#include "dense_drain.h"
#include "multiply.h"

/* The patch that begins at these places of the block's box. */
static void set_patch(const ck_block *b, const int64_t at[3], int64_t row, ck_patch *patch) {
  patch->box = b->box;
  for (int i = 0; i < 3; i++) {
    const ck_axis *axis = &b->d->source.axis[i];
    const int64_t first = b->box.first[i + 1] + at[i], left = b->box.size[i + 1] - at[i];
    patch->box.first[i + 1] = first;
    patch->box.size[i + 1] = b->p->patch_axes >> i & 1 ? ck_axis_alike(axis, first, left) : left;
    ck_axis_taken(axis, first, patch->box.size[i + 1], &patch->tap[i], &patch->taps[i]);
  }
  patch->row = row;
  patch->rows = ck_box_count(&patch->box);
}

void ck_dense_set_patches(ck_block *b) {
  const int64_t *size = b->box.size;
  ck_patch *patch = b->b.patches;
  int64_t at[3], row = 0;
  for (at[0] = 0; at[0] < size[1]; at[0] += patch[-1].box.size[1]) {
    for (at[1] = 0; at[1] < size[2]; at[1] += patch[-1].box.size[2]) {
      for (at[2] = 0; at[2] < size[3]; at[2] += patch[-1].box.size[3]) {
        set_patch(b, at, row, patch);
        row += patch++->rows;
      }
    }
  }
  const int64_t before = b->patches;
  b->patches = patch - b->b.patches;
  b->resorted = before != 1 || b->patches != 1;
}

/* What outputs of the block's box read, in the order of patches. */
static void sort_rows(ck_block *b) {
  const int64_t *size = b->box.size, *origin = b->box.first;
  int32_t *to = b->b.ro;
  for (int64_t i = 0; i < b->patches; i++) {
    const ck_box *box = &b->b.patches[i].box;
    const int64_t y = box->first[2] - origin[2], x = box->first[3] - origin[3], z = box->first[1] - origin[1];
    for (int64_t row = 0; row < box->size[0] * box->size[1] * box->size[2]; row++) {
      const int64_t plane = row / box->size[2], image = plane / box->size[1];
      const int64_t at = (image * size[1] + z + plane % box->size[1]) * size[2] + y + row % box->size[2];
      memcpy(to, b->b.ro_all + at * size[3] + x, (size_t)box->size[3] * sizeof *to);
      to += box->size[3];
    }
  }
}

void ck_dense_set_patch_rows(ck_block *b) {
  const ck_kernels *kernels = b->d->kernels;
  const int64_t lists = ck_dense_patch_lists(b->p);
  ck_row_panel *panels = b->b.panels;
  if (b->patches > 1)
    sort_rows(b);
  b->resorted = 0;
  for (int64_t i = 0; i < b->patches; i++) {
    ck_patch *patch = &b->b.patches[i];
    const int64_t list = ck_min(i, lists - 1) * b->p->kmax;
    patch->po = b->b.patch_po + list;
    patch->ko = b->b.patch_ko + list;
    patch->shared = i >= lists - 1 && b->patches > lists;
    patch->ld = 0;
    const int32_t *ro = b->b.ro + patch->row;
    patch->panels = panels;
    patch->height = ck_dense_ends_with_rows(b->d, b->p) ? ck_row_panel_height(kernels, ro, patch->rows) : 0;
    ck_row_panels_set(kernels, ro, patch->rows, patch->height, panels);
    panels += patch->height ? ck_ceil_div(patch->rows, patch->height) : ck_row_panel_count(kernels, patch->rows);
  }
}

/* A channel's list for all channels, each so much beyond the one before. */
static void repeat(int32_t *list, int64_t count, int64_t channels, int32_t step) {
  for (int64_t c = 1; c < channels; c++, list += count)
    for (int64_t i = 0; i < count; i++)
      list[count + i] = list[i] + step;
}

void ck_dense_set_patch_products(const ck_block *b, const ck_tile *t, ck_patch *patch) {
  const ck_kblock *kb = &b->kblock;
  const int64_t all = ck_taps_of(kb->taps);
  int64_t first[3], end[3], q = 0;
  if (patch->ld == t->ld)
    return;
  for (int i = 0; i < 3; i++) {
    first[i] = ck_max(0, patch->tap[i] - kb->tap[i]);
    end[i] = ck_min(patch->tap[i] + patch->taps[i] - kb->tap[i], kb->taps[i]);
  }
  for (int64_t z = first[0]; z < end[0]; z++) {
    for (int64_t y = first[1]; y < end[1]; y++) {
      const int64_t row = (z * kb->taps[1] + y) * kb->taps[2];
      for (int64_t k = row + first[2]; k < row + end[2]; k++, q++) {
        patch->po[q] = (int32_t)(k * t->ld);
        patch->ko[q] = b->b.ko[k];
      }
    }
  }
  repeat(patch->po, q, kb->channels, (int32_t)(all * t->ld));
  repeat(patch->ko, q, kb->channels, kb->channels > 1 ? b->b.ko[all] - b->b.ko[0] : 0);
  q *= kb->channels;
  patch->k = q;
  patch->ld = patch->shared ? 0 : t->ld;
}

void ck_dense_drain_patches(ck_block *b, const ck_tile *t, char *acc) {
  const ck_box all = b->box;
  const int64_t row = t->ld * b->d->kernels->real_size;
  for (int64_t i = 0; i < b->patches; i++) {
    const ck_patch *patch = &b->b.patches[i];
    b->box = patch->box;
    b->pixels = patch->rows;
    b->pitch = patch->box.size[3];
    ck_dense_drain(b, t, acc + patch->row * row);
  }
  b->box = all;
  b->pixels = ck_box_count(&all);
  b->pitch = all.size[3];
}
