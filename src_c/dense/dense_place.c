#include "dense_place.h"

#include "dense_runs.h"
#include "multiply.h"

/* Of more patches the others share the last: 16 are up to 74 KB. */
enum { MOST_LISTS = 16 };

int64_t ck_dense_patch_lists(const ck_dense_plan *p) { return ck_min(ck_max(1, p->patching.most), MOST_LISTS); }

void ck_dense_place(const ck_dense *d, const ck_dense_plan *p, ck_arena *arena, ck_buffers *b) {
  const int64_t item = d->kernels->real_size, ld = ck_round_up(p->tile_lanes, d->kernels->vector);
  if (d->sampler) {
    int64_t all = ck_taps_of(p->window.taps);
    ck_samples_place(&b->samples, d->sampler, p->pixels, all, arena);
    b->image = ck_take(arena, ck_sampler_image_bytes(d->sampler));
    b->columns = ck_take(arena, p->pixels * all * ck_dense_column_step(d, p->window.channels) * item + 64);
  } else if (!d->in_place || d->arrangement == CK_BY_CHANNEL) {
    ck_window_place(&b->window, d->kernels, &d->source, &p->window, arena);
  }
  int64_t kept = ck_reduction_count(&p->reduction) > 1 ? p->part_tiles : 1;
  int64_t taps = ck_taps_of(p->window.taps);
  b->acc = ck_take(arena, kept * p->part_phases * p->acc_phase);
  const int in_pieces = d->arrangement == CK_UNPACKED || (p->streams && p->kmax > p->streams) ||
                        (!ck_dense_is_sequential(d) && ck_multiply_piece(d->kernels, p->kmax, ld * item, 1) < p->kmax);
  b->chain = in_pieces ? ck_take(arena, p->acc_phase) : NULL;
  b->panel = ck_take(arena, d->arrangement == CK_UNPACKED ? 0 : p->kmax * ld * item);
  b->bias = ck_take(arena, ld * item);
  b->ko = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
  b->ro = ck_take(arena, ck_max(p->pixels, p->tile_lanes) * (int64_t)sizeof(int32_t));
  const int64_t vector = p->tile_lanes * d->kernels->vector * item;
  b->vo = ck_take(arena, d->arrangement == CK_BY_CHANNEL ? p->acc_phase / vector * (int64_t)sizeof(int32_t) : 0);
  const int64_t panels =
      (ck_dense_ends_with_rows(d, p) ? ck_row_panel_bound : ck_row_panel_count)(d->kernels, p->pixels);
  const int64_t patches = ck_max(1, p->patching.most), cut = patches > 1;
  b->panels = ck_take(arena, (panels + patches) * (int64_t)sizeof(ck_row_panel));
  b->patches = ck_take(arena, patches * (int64_t)sizeof(ck_patch));
  b->patch_po = ck_take(arena, cut * ck_dense_patch_lists(p) * p->kmax * (int64_t)sizeof(int32_t));
  b->patch_ko = ck_take(arena, cut * ck_dense_patch_lists(p) * p->kmax * (int64_t)sizeof(int32_t));
  b->ro_all = ck_take(arena, cut * p->pixels * (int64_t)sizeof(int32_t));
  b->w_off = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int64_t));
  if (p->sorted) {
    b->row = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
    b->ko_all = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
  }
  b->tap = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int32_t));
  b->tap_phase = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int32_t));
  b->phase_start = ck_take(arena, (p->part_phases + 1) * (int64_t)sizeof(int32_t));
  b->whole_start = ck_take(arena, (p->part_phases + 1) * (int64_t)sizeof(int32_t));
  b->picked = ck_take(arena, 2 * (taps + 1) * (int64_t)sizeof(int32_t));
  b->phase_taps = ck_take(arena, p->part_phases * (int64_t)sizeof(ck_phase_taps));
  int64_t places = 0;
  if (ck_dense_joins_phases(d, p)) {
    places = 1;
    for (int i = 0; i < 3; i++)
      places *= p->window.outputs[i + 1] * d->dst_step[i];
    places += d->dst_step[2]; /* of a last row that ends within an output's elements */
  }
  b->places = ck_take(arena, places * (int64_t)sizeof(int32_t));
  b->none = ck_take(arena, places ? ld * item : 0);
}
