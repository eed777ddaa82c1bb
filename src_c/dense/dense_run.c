#include "dense_run.h"

#include <string.h>

#include "dense_drain.h"
#include "dense_patch.h"
#include "dense_plan.h"
#include "dense_plane.h"
#include "dense_ready.h"
#include "lines.h"
#include "multiply.h"
#include "sheets.h"
#include "unpacked.h"

/* Several taps read a line again and again: tiles of fewer rows than that have no time to fetch it each time (423 to 2
 * channels, 5x5: 1.13 times as long on a Zen 4; 54 to 63 in 9 groups, 3x3, takes 0.95 of the time with it). */
enum { FEW_ROWS = 4 };

/* Whether products are at a constant step: those of one tap, or of a window's columns. Those of samples have a gap
 * after each channel. */
static int is_steady(const ck_block *b, const ck_part *p) {
  return p->k == b->kblock.channels || (b->d->source.order == CK_COLUMNS && !b->d->sampler);
}

static void multiply_by_channel(ck_block *b, const ck_tile *t, const ck_part *p) {
  const ck_dense *d = b->d;
  const ck_kernels *kernels = d->kernels;
  const ck_lane_runs *runs = &b->runs;
  int64_t apart = 0;
  const int64_t alike = b->finishing ? ck_dense_runs_alike(b, &apart) : 1, together = b->finishing ? alike : runs->runs;
  ck_lane_product product = {.kernels = kernels,
                             .k = p->k,
                             .height = t->lanes,
                             .lanes = (alike > 1 ? 0 : (together - 1) * runs->row) + runs->lanes,
                             .runs = alike > 1 ? alike : 0,
                             .run = apart,
                             .ldc = runs->runs * runs->row,
                             .ahead =
                                 b->in_place && (ck_taps_of(b->kblock.taps) == 1 || t->lanes >= FEW_ROWS || b->p->far),
                             .streams = b->in_place && b->leading ? b->p->streams * ck_taps_of(b->kblock.taps) : 0,
                             .wide = b->b.window.bands.size / kernels->vector,
                             .data = b->data,
                             .ko = p->ko,
                             .steady = is_steady(b, p),
                             .panel = p->panel,
                             .next_row = b->next_row,
                             .chain = b->b.chain,
                             .mode = p->accumulate ? CK_ADD : CK_STORE};
  if (b->finishing)
    ck_dense_load_bias(b, t);
  for (int64_t r = 0; r < runs->runs; r += together) {
    product.next = b->next_row && r == 0 ? b->next_panel : NULL;
    ck_finish finish;
    if (b->finishing) {
      finish = ck_dense_finish_at(b, t, r);
      product.finish = &finish;
    }
    product.total = p->acc + r * runs->row * kernels->real_size;
    product.vo = b->b.vo + r * runs->row / kernels->vector;
    ck_multiply_lanes(&product);
    for (int64_t i = 0; i < together && b->finishing; i++, finish.dst += apart)
      ck_dense_activate_stored(d, finish.dst, finish.row, t->lanes, runs->lanes);
  }
}

/* Of what is wanted next, which all patches of a block fetch, a patch's share. */
static void fetch_share(const ck_block *b, const ck_tile *t, int64_t k, const ck_patch *patch, ck_row_product *p) {
  const int64_t each = b->next_row ? b->next_row : t->ld * b->d->kernels->real_size;
  const int64_t bytes = k * each / b->patches;
  if (!p->next || p->k == 0)
    return;
  p->next = b->next_panel + (patch - b->b.patches) * bytes;
  p->next_row = ck_ceil_div(bytes, p->k);
}

static void multiply_patch(ck_block *b, const ck_tile *t, const ck_part *p, ck_patch *patch) {
  const ck_kernels *kernels = b->d->kernels;
  ck_finish finish;
  ck_row_product product = {.kernels = kernels,
                            .by_group = b->d->arrangement == CK_BY_GROUP,
                            .narrow = b->d->arrangement == CK_BY_PIXEL && ck_dense_is_narrow(kernels, t->lanes),
                            .ahead = b->in_place && b->d->source.order == CK_PLANES,
                            .k = p->k,
                            .rows = patch->rows,
                            .ld = t->ld,
                            .height = patch->height,
                            .data = b->data,
                            .ko = p->ko,
                            .steady = is_steady(b, p),
                            .panels = patch->panels,
                            .panel = p->panel,
                            .next = b->next_panel,
                            .next_row = b->next_row,
                            .chain = b->b.chain,
                            .total = p->acc + patch->row * t->ld * kernels->real_size,
                            .mode = p->accumulate ? CK_ADD : CK_STORE};
  if (b->patches > 1) {
    ck_dense_set_patch_products(b, t, patch);
    product.k = patch->k;
    if (patch->k < p->k) {
      product.po = patch->po;
      product.ko = patch->ko;
      product.steady = 0;
    }
    fetch_share(b, t, p->k, patch, &product);
  }
  if (b->finishing) {
    ck_dense_load_bias(b, t);
    finish = ck_dense_finish_at(b, t, 0);
    product.finish = &finish;
  }
  ck_multiply_rows(&product);
}

static void multiply_by_pixel(ck_block *b, const ck_tile *t, const ck_part *p) {
  for (int64_t i = 0; i < b->patches; i++)
    multiply_patch(b, t, p, &b->b.patches[i]);
}

/* Every phase of the task: its rows of the panel into its accumulators. */
static void multiply(ck_block *b, const ck_tile *t, char *acc, int accumulate) {
  const int64_t row = t->ld * b->d->kernels->real_size;
  for (int64_t f = b->phase; f < b->phase_end; f++, acc += b->p->acc_phase) {
    const int64_t first = b->b.phase_start[f - b->phase];
    ck_part p = {.k = b->b.phase_start[f - b->phase + 1] - first,
                 .taps = &b->b.phase_taps[f - b->phase],
                 .panel = b->panel + first * row,
                 .ko = b->b.ko + first,
                 .acc = acc,
                 .accumulate = accumulate};
    if (ck_dense_by_plane(b->d))
      ck_dense_multiply_plane(b, t, &p);
    else if (b->d->arrangement == CK_BY_CHANNEL)
      multiply_by_channel(b, t, &p);
    else
      multiply_by_pixel(b, t, &p);
  }
}

/* The offset tables straight into the source's tensor. */
static void read_in_place(ck_block *b, const ck_kblock *kb, int64_t channel, int kept) {
  const ck_source *s = &b->d->source;
  const int64_t item = b->d->kernels->real_size, *stride = s->tensor.stride, *size = b->box.size;
  int64_t step[4] = {stride[0], 0, 0, 0}, tap[3];
  b->data = (const char *)s->tensor.data + (channel + kb->channel) * stride[1] + b->box.first[0] * stride[0];
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &s->axis[i];
    /* an axis of one may have any stride: its product could overflow */
    step[i + 1] = size[i + 1] > 1 ? a->step * stride[i + 2] : 0;
    tap[i] = a->taps > 1 ? a->tap_step * stride[i + 2] / item : 0;
    b->data += ck_axis_at(a, b->box.first[i + 1], kb->tap[i]) * stride[i + 2];
  }
  if (kept)
    return;
  const int32_t pixel = (int32_t)(step[3] / item), plane = (int32_t)(stride[1] / item);
  int32_t *ro = b->b.ro;
  for (int64_t n = 0; n < size[0]; n++) {
    for (int64_t z = 0; z < size[1]; z++) {
      for (int64_t y = 0; y < size[2]; y++, ro += size[3]) {
        const int32_t row = (int32_t)((n * step[0] + z * step[1] + y * step[2]) / item);
        for (int64_t x = 0; x < size[3]; x++)
          ro[x] = row + (int32_t)x * pixel;
      }
    }
  }
  const int64_t taps = ck_taps_of(kb->taps), across = kb->taps[2], down = kb->taps[1];
  for (int64_t t = 0; t < taps; t++) {
    const int64_t x = t % across, y = t / across % down, z = t / across / down;
    const int32_t first = (int32_t)(z * tap[0] + y * tap[1] + x * tap[2]);
    for (int64_t c = 0; c < kb->channels; c++)
      b->b.ko[c * taps + t] = first + (int32_t)c * plane;
  }
}

static void read_samples(ck_block *b, const ck_kblock *kb, int64_t channel, int64_t groups) {
  ck_samples *samples = &b->b.samples;
  if (b->d->arrangement == CK_BY_GROUP)
    ck_samples_group_columns(samples, &b->box, kb, channel, groups, b->b.image, b->b.columns);
  else
    ck_samples_columns(samples, &b->box, kb, channel, b->b.image, b->b.columns);
  ck_samples_column_offsets(samples, groups ? b->d->kernels->vector : 1, ck_dense_column_step(b->d, kb->channels),
                            b->b.ro, b->b.ko);
}

/* Where each vector of run after run begins. */
static void set_vectors(const ck_block *b) {
  const ck_lane_runs *runs = &b->runs;
  const int banded = b->b.window.bands.count > 0;
  int32_t *to = b->b.vo;
  for (int64_t r = 0; r < runs->runs; r++) {
    const int32_t *at = b->b.ro + r * runs->outputs;
    for (int64_t j = 0; j < runs->lanes; j += b->d->kernels->vector)
      *to++ = banded ? at[j] : *at + (int32_t)j;
  }
}

/* The window of a k-block, or what stands for it, and the tables of offsets into it; whether these changed. */
static int read_source(ck_block *b, const ck_kblock *kb, int kept) {
  const ck_dense *d = b->d;
  int by_group = d->arrangement == CK_BY_GROUP;
  int64_t channel = b->outer * (by_group ? d->kernels->vector : 1) * d->channels;
  int64_t lanes = by_group ? ck_min(d->kernels->vector, d->groups - b->outer * d->kernels->vector) : 0;
  int fresh = 1;
  b->data = b->b.window.data;
  if (b->in_place) {
    read_in_place(b, kb, channel, kept);
    fresh = !kept;
  } else if (d->sampler) {
    read_samples(b, kb, channel, lanes);
    b->data = b->b.columns;
  } else {
    fresh = b->resorted | ck_window_fill(&b->b.window, &b->box, kb, channel, lanes);
    if (fresh) {
      ck_window_output_offsets(&b->b.window, b->patches > 1 ? b->b.ro_all : b->b.ro);
      ck_window_tap_offsets(&b->b.window, b->p->sorted ? b->b.ko_all : b->b.ko);
    }
  }
  if (fresh && d->arrangement != CK_BY_CHANNEL)
    ck_dense_set_patch_rows(b);
  else if (fresh && !ck_dense_by_plane(d))
    set_vectors(b);
  return fresh;
}

static void drain(ck_block *b, const ck_tile *t, char *acc) {
  if (b->patches > 1)
    ck_dense_drain_patches(b, t, acc);
  else
    ck_dense_drain(b, t, acc);
}

/* The k-block less the taps that are padding for the whole block. */
static ck_kblock kblock_at(const ck_block *b, int64_t index) {
  ck_kblock kb = ck_reduction_block(&b->p->reduction, index);
  for (int i = 0; i < 3; i++) {
    int64_t first = ck_max(kb.tap[i], b->tap[i]), end = ck_min(kb.tap[i] + kb.taps[i], b->tap[i] + b->taps[i]);
    kb.tap[i] = first;
    kb.taps[i] = ck_max(0, end - first);
  }
  return kb;
}

/* Adds one k-block to the accumulators; those of the first are stored, those of the last drained. Stops before a tile
 * whose weights are not all finite where some tap is padding for a part of the block: staged zeros would make 0 * Inf
 * = NaN. Returns the first tile that is not done, or -1 if the k-block had no tap for this task. */
static int64_t run_kblock(ck_block *b, int64_t index, int64_t tile, int64_t tile_end, int first, int last) {
  const ck_dense *d = b->d;
  const int kept = b->kept == index;
  if (!kept) {
    const ck_kblock all = ck_reduction_block(&b->p->reduction, index);
    b->kblock = kblock_at(b, index);
    b->taken = ck_dense_take_taps(b, &b->kblock);
    b->whole = memcmp(b->kblock.taps, all.taps, sizeof all.taps) == 0;
  }
  b->kept = index;
  if (b->taken == 0)
    return -1;
  if (read_source(b, &b->kblock, kept) || !kept) {
    ck_dense_set_rows(b, &b->kblock, b->taken);
    if (b->panels && !b->whole)
      ck_dense_set_picked(b, index);
    if (ck_dense_by_plane(d))
      ck_dense_set_phase_taps(b);
  }
  int64_t acc_step = ck_reduction_count(&b->p->reduction) > 1 ? b->p->part_phases * b->p->acc_phase : 0;
  char *acc = b->b.acc;
  const ck_tile from = ck_dense_tile_at(d, b->p, b->outer, tile);
  const int64_t first_tile = tile;
  int64_t stored = 0; /* lanes, by pixel */
  for (; tile < tile_end && !ck_stopped_at(b->worker, tile - first_tile, 1); tile++, acc += acc_step) {
    ck_tile t = ck_dense_tile_at(d, b->p, b->outer, tile);
    if (ck_dense_set_panel(b, &t, tile, index, tile + 1 < tile_end ? tile + 1 : first_tile) && b->b.window.padded &&
        !b->in_place)
      break;
    b->leading = tile == first_tile;
    b->finishing = last && b->straight;
    multiply(b, &t, acc, !first);
    if (b->finishing)
      stored += t.lanes;
    else if (last)
      drain(b, &t, acc);
  }
  if (stored > 0 && d->arrangement == CK_BY_PIXEL)
    ck_dense_activate_stored(d, ck_dense_finish_at(b, &from, 0).dst, d->dst.stride[4], b->pixels, stored);
  return tile;
}

/* By channel whole vectors are read, also those that a run only begins, and by plane those that taps only begin:
 * after the last plane there may be nothing. */
static int reads_past_end(const ck_block *b) {
  const ck_source *s = &b->d->source;
  const int64_t *stride = s->tensor.stride;
  int64_t channels = (b->outer + 1) * b->d->channels, at[4];
  for (int i = 0; i < 4; i++)
    at[i] = b->box.first[i] + (i < b->runs.axis ? b->box.size[i] - 1 : 0);
  const char *last = (const char *)s->tensor.data + (channels - 1) * stride[1] + at[0] * stride[0];
  for (int i = 0; i < 3; i++)
    last += ck_axis_at(&s->axis[i], at[i + 1], s->axis[i].taps - 1) * stride[i + 2];
  const int64_t taps = ck_dense_by_plane(b->d) ? b->d->kernels->vector : 0;
  return last + (b->runs.row + taps) * b->d->kernels->real_size > s->end;
}

static void set_runs(ck_block *b) {
  b->in_place = b->d->in_place;
  if (b->d->arrangement != CK_BY_CHANNEL)
    return;
  b->runs = ck_dense_lane_runs(b->d, b->p, b->in_place, b->box.size, b->taps);
  if (!b->in_place || !reads_past_end(b))
    return;
  b->in_place = 0;
  b->runs = ck_dense_lane_runs(b->d, b->p, 0, b->box.size, b->taps);
}

static int has_taps(ck_block *b, int64_t index) {
  ck_kblock kb = kblock_at(b, index);
  return ck_dense_take_taps(b, &kb) > 0;
}

/* What is the same for all groups of a box. */
static void settle(ck_block *b) {
  const int64_t count = ck_reduction_count(&b->p->reduction);
  b->settled = 1;
  b->placed = NULL;
  b->pixels = ck_box_count(&b->box);
  b->pitch = b->box.size[3];
  for (int i = 0; i < 3; i++) {
    const ck_axis *axis = &b->d->source.axis[i];
    b->taps[i] = axis->taps; /* a sample may lie inside the image wherever its tap does */
    if (!b->d->sampler)
      ck_axis_taken(axis, b->box.first[i + 1], b->box.size[i + 1], &b->tap[i], &b->taps[i]);
  }
  set_runs(b);
  if (b->d->arrangement != CK_BY_CHANNEL)
    ck_dense_set_patches(b);
  for (b->kblocks = count; b->kblocks > 0 && !has_taps(b, b->kblocks - 1);)
    b->kblocks--;
  b->kept = b->laid = -1;
  b->straight = b->patches < 2 && ck_dense_goes_straight(b->d, &b->runs, b->box.size) &&
                (b->kblocks == 1 || !ck_dense_by_plane(b->d));
  if (ck_dense_by_plane(b->d))
    ck_dense_set_ahead(b);
}

/* Returns the first tile that is not done. */
static int64_t run_tiles(ck_block *b, int64_t tile, int64_t tile_end) {
  if (!b->settled || (b->in_place && b->d->arrangement == CK_BY_CHANNEL && reads_past_end(b)))
    settle(b);
  const int64_t count = b->kblocks;
  int first = 1;
  for (int64_t i = 0; i < count; i++) {
    int64_t done = run_kblock(b, i, tile, tile_end, first, i == count - 1);
    if (done >= 0 && done < tile_end)
      return i == count - 1 ? done : tile;
    first &= done < 0;
  }
  for (; tile < tile_end && count == 0; tile++) { /* nothing to sum: the bias alone */
    ck_tile t = ck_dense_tile_at(b->d, b->p, b->outer, tile);
    memset(b->b.acc, 0, (size_t)(b->p->part_phases * b->p->acc_phase));
    drain(b, &t, b->b.acc);
  }
  return tile_end;
}

/* Of `left` outputs from `first` on along axis i, those within which every tap is padding for all or for none: one row
 * or plane by itself where these are added to one element, whose sum must not follow from who shares the tile. */
static int64_t alike(const ck_dense *d, int i, int64_t first, int64_t left) {
  const int repeated = d->fold == CK_REPLICATE && (d->fold_first[i] < 0 || d->fold_first[i] >= d->fold_size[i]);
  return repeated && i < 2 ? 1 : ck_axis_alike(&d->source.axis[i], first, left);
}

/* All tiles; those whose weights are not all finite in boxes within which every tap is padding for all or for none. */
void ck_dense_run_block(ck_block *b, int64_t tile, int64_t tile_end) {
  const ck_box all = b->box;
  ck_box *box = &b->box;
  if (b->d->arrangement == CK_UNPACKED) {
    ck_unpacked_run(b, tile, tile_end);
    return;
  }
  tile = run_tiles(b, tile, tile_end);
  if (tile == tile_end || ck_stopped(b->worker))
    return;
  b->settled = 0;
  int64_t end[4];
  for (int i = 0; i < 4; i++)
    end[i] = all.first[i] + all.size[i];
  for (box->first[1] = all.first[1]; box->first[1] < end[1]; box->first[1] += box->size[1]) {
    box->size[1] = alike(b->d, 0, box->first[1], end[1] - box->first[1]);
    for (box->first[2] = all.first[2]; box->first[2] < end[2]; box->first[2] += box->size[2]) {
      box->size[2] = alike(b->d, 1, box->first[2], end[2] - box->first[2]);
      for (box->first[3] = all.first[3]; box->first[3] < end[3]; box->first[3] += box->size[3]) {
        box->size[3] = alike(b->d, 2, box->first[3], end[3] - box->first[3]);
        if (!ck_stopped(b->worker))
          run_tiles(b, tile, tile_end);
        b->settled = 0;
      }
    }
  }
  *box = all;
}

/* What was settled for a block is for other images too, at the same place: not of patches, which are boxes, and not
 * what is fetched ahead. */
static void take_box(ck_block *b, int64_t index) {
  const ck_box before = b->box;
  b->box = ck_grid_box(&b->p->grid, index);
  b->settled &= ck_box_alike(&before, &b->box) && b->patches < 2 && !b->fetches;
}

static void dense_task(ck_worker *worker, void *context, int64_t index) {
  const ck_dense_call *call = context;
  const ck_dense_plan *p = &call->plan;
  ck_block b = {.d = call->d, .p = p, .panels = call->panels, .worker = worker};
  ck_arena arena = {.base = worker->scratch};
  ck_dense_place(b.d, p, &arena, &b.b);
  const int64_t blocks = ck_grid_count(&p->grid), part = index % p->tile_parts, here = index / p->tile_parts;
  /* unlike ck_part_start, the last part, which has the narrow tile, is one of the larger */
  const int64_t tile = p->tiles * part / p->tile_parts, tile_end = p->tiles * (part + 1) / p->tile_parts;
  const int64_t shares = ck_ceil_div(blocks, p->turns), parts = b.d->fold ? 1 : p->phase_parts;
  const int64_t phase_part = here % parts, block = here / parts % shares * p->turns;
  const int64_t outer = here / parts / shares * p->each, outer_end = ck_min(p->outer, outer + p->each);
  for (int64_t f = phase_part; f < (b.d->fold ? p->phase_parts : phase_part + 1); f++) {
    b.phase = f * p->part_phases;
    b.phase_end = ck_min(p->phases, b.phase + p->part_phases);
    b.settled = 0;
    for (int64_t i = block; i < ck_min(blocks, block + p->turns) && !ck_stopped_at(worker, i - block, 1); i++) {
      take_box(&b, i);
      for (b.outer = outer; b.outer < outer_end && !ck_stopped_at(worker, b.outer - outer, 8); b.outer++)
        ck_dense_run_block(&b, tile, tile_end);
    }
  }
}

ck_status ck_dense_run(ck_dense *d, const ck_run *run) {
  ck_dense_call call = {.d = d, .plan = ck_dense_make_plan(d, run)};
  ck_status status = CK_OK;
  if (call.plan.tasks == 0)
    return CK_OK;
  const ck_task task = d->arrangement == CK_SHEETS  ? ck_sheets_task
                       : d->arrangement == CK_LINES ? ck_lines_task
                                                    : dense_task;
  call.panels = ck_dense_ready(d, d->arrangement);
  if (call.plan.packed)
    status = ck_dense_pack_shared(&call, run);
  char *scratch = (char *)run->workspace + call.plan.packed;
  return status == CK_OK ? ck_parallel(call.plan.tasks, task, &call, run, scratch, call.plan.bytes) : status;
}
