#include "dense_block.h"

static ck_window_size window_size(const ck_grid *grid, const ck_reduction *reduction) {
  ck_kblock kb = ck_reduction_largest(reduction);
  ck_window_size size = {.channels = kb.channels};
  for (int d = 0; d < 4; d++)
    size.outputs[d] = ck_grid_largest(grid, d);
  for (int d = 0; d < 3; d++)
    size.taps[d] = kb.taps[d];
  return size;
}

/* Block sizes for about `target` pixels, with the innermost axis cut into `cuts`: whole inner axes first, then whole
 * small images together. */
static void block_for(const int64_t size[4], int64_t target, int64_t cuts, int64_t block[4]) {
  int64_t room = target;
  block[3] = ck_max(1, ck_min(ck_ceil_div(size[3], cuts), room));
  for (int d = 2; d >= 0; d--) {
    room /= block[d + 1];
    block[d] = block[d + 1] == size[d + 1] || d == 2 ? ck_max(1, ck_min(size[d], room)) : 1;
  }
}

/* Cycles of one task, in units of a multiply-add on one vector pair; the constants were fitted to timings of the layers
 * of ResNet-50 and VGG-16 with 512-bit vectors, and only have to rank blocks. */
static double task_cost(const ck_dense *d, const ck_dense_plan *p) {
  double k = (double)d->channels * (double)(p->reduction.taps[0] * p->reduction.taps[1] * p->reduction.taps[2]) *
             (double)p->part_phases / (double)p->phases; /* each tap is of one phase */
  double panels = (double)ck_ceil_div(p->pixels, d->kernels->max_height);
  double tiles = (double)p->part_tiles, window = (double)ck_window_elements(d->kernels, &d->source, &p->window);
  double multiply = k * tiles * ((double)p->pixels + panels), pack = 12 * k * tiles;
  if (d->flavour == CK_BY_CHANNEL)
    multiply = k * (double)(p->tile_lanes * p->run) / (2 * d->kernels->vector);
  double stage = d->in_place ? 0 : 0.3 * window * (double)ck_max(1, ck_reduction_count(&p->reduction));
  return multiply + pack + stage + 16.0 * (double)(p->pixels * p->part_phases) * tiles + 2000;
}

void ck_dense_place(const ck_dense *d, const ck_dense_plan *p, ck_arena *arena, ck_buffers *b) {
  const int64_t item = d->kernels->real_size, ld = ck_round_up(p->tile_lanes, d->kernels->vector);
  if (d->sampler) {
    int64_t all = p->window.taps[0] * p->window.taps[1] * p->window.taps[2];
    ck_samples_place(&b->samples, d->sampler, p->pixels, all, arena);
    b->image = ck_take(arena, ck_sampler_image_bytes(d->sampler));
    b->columns = ck_take(arena, p->pixels * all * ck_samples_pixel_step(d->sampler, p->window.channels) * item + 64);
  } else if (!d->in_place) {
    ck_window_place(&b->window, d->kernels, &d->source, &p->window, arena);
  }
  int64_t kept = ck_reduction_count(&p->reduction) > 1 ? p->part_tiles : 1;
  int64_t taps = p->window.taps[0] * p->window.taps[1] * p->window.taps[2];
  b->acc = ck_take(arena, kept * p->part_phases * p->acc_phase);
  b->panel = ck_take(arena, p->kmax * ld * item);
  b->bias = ck_take(arena, ld * item);
  b->ko = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
  b->ro = ck_take(arena, ck_max(p->pixels, p->tile_lanes) * (int64_t)sizeof(int32_t));
  b->w_off = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int64_t));
  if (p->sorted) {
    b->tap = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int32_t));
    b->tap_phase = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int32_t));
    b->row = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
    b->ko_all = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
    b->phase_start = ck_take(arena, (p->part_phases + 1) * (int64_t)sizeof(int32_t));
  }
}

static void set_block(const ck_dense *d, ck_dense_plan *p, const int64_t block[4], int64_t tile_parts) {
  p->grid = ck_grid_make(p->grid.size, block);
  p->window = window_size(&p->grid, &p->reduction);
  p->pixels = 1;
  for (int i = 0; i < 4; i++)
    p->pixels *= p->window.outputs[i];
  p->run = p->window.outputs[0] * p->window.outputs[1] * p->window.outputs[2] *
           ck_axis_extent(&d->source.axis[2], p->window.outputs[3], ck_max(1, p->window.taps[2]));
  p->tile_parts = ck_min(tile_parts, ck_max(1, p->tiles));
  p->part_tiles = ck_ceil_div(p->tiles, p->tile_parts);
  p->kmax = ck_max(1, p->window.channels * p->window.taps[0] * p->window.taps[1] * p->window.taps[2]);
  int64_t rows =
      d->flavour == CK_BY_CHANNEL ? p->run * p->tile_lanes : p->pixels * ck_round_up(p->tile_lanes, d->kernels->vector);
  p->acc_phase = ck_round_up(rows * d->kernels->real_size, 64);
  p->tasks = p->outer * p->tile_parts * (d->fold ? p->grid.parts[0] : p->phase_parts * ck_grid_count(&p->grid));
  ck_arena count = {0};
  ck_buffers b;
  ck_dense_place(d, p, &count, &b);
  p->bytes = count.used;
}

/* Tries block sizes, cuts of the innermost axis and splits of the lane tiles; keeps the least estimated time that fits
 * a thread's scratch. */
static void choose_block(const ck_dense *d, ck_dense_plan *p, int threads) {
  static const int64_t windows[] = {896, 784, 560, 448, 392, 280, 224, 112, 56, 28, 14, 7, 1};
  static const int64_t columns[] = {392, 336, 280, 224, 196, 168, 140,
                                    112, 84,  56,  28,  14,  1}; /* nine times as large */
  const int64_t *targets = d->sampler ? columns : windows, limit = d->sampler ? CK_SAMPLED_BYTES : CK_THREAD_BYTES;
  ck_dense_plan trial = *p;
  double best = -1;
  int64_t all = p->grid.size[0] * p->grid.size[1] * p->grid.size[2] * p->grid.size[3];
  for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
    if (i > 0 && targets[i] < 56 && best >= 0)
      break; /* blocks this small are for windows that fit no other way */
    if (i + 1 < sizeof windows / sizeof *windows && targets[i + 1] / p->part_phases >= all)
      continue;
    for (int64_t cuts = 1; cuts <= 4 && (cuts == 1 || p->grid.size[3] / cuts >= 28); cuts *= 2) {
      int64_t block[4];
      block_for(p->grid.size, ck_max(1, targets[i] / p->part_phases), cuts, block);
      if (d->sampler) /* the image around a block is staged */
        ck_square_block(p->grid.size, targets[i], 4, block);
      if (d->fold)
        block[0] = 1; /* padded positions of one image meet in one task */
      for (int64_t parts = 1; parts <= ck_max(1, p->tiles); parts = parts < 4 ? parts + 1 : parts * 2) {
        set_block(d, &trial, block, parts);
        if (trial.bytes > limit)
          continue;
        double cost = task_cost(d, &trial), waves = (double)ck_ceil_div(trial.tasks, threads);
        double time = waves * cost;
        if (best < 0 || time < best) {
          best = time;
          *p = trial;
        }
      }
    }
  }
  if (best < 0) { /* nothing fits: the smallest block there is */
    int64_t one[4] = {1, 1, 1, 1};
    set_block(d, p, one, p->tiles);
  }
}

int ck_dense_reads_in_place(const ck_dense *d) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size, *stride = s->tensor.stride;
  int64_t reach = 0, sizes[5] = {d->n, d->channels, s->axis[0].source, s->axis[1].source, s->axis[2].source};
  int fits = d->flavour == CK_BY_PIXEL && s->order == CK_PLANES && !s->act_y.data && !d->fold && !d->sampler;
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &s->axis[i];
    fits &=
        a->taps == 1 && a->step == 1 && a->stride <= 1 && a->base + ck_tap_offset(a, 0) == 0 && a->outputs == a->source;
  }
  for (int i = 0; i < 5 && fits; i++) {
    fits &= stride[i] >= 0 && stride[i] % item == 0;
    reach += fits ? ck_min(sizes[i], INT32_MAX) * ck_min(stride[i] / item, INT32_MAX) / 8 : 0;
  }
  /* Planes a multiple of 4096 bytes apart would meet in one cache set. */
  return fits && (uintptr_t)s->tensor.data % (uintptr_t)item == 0 && stride[1] % 4096 != 0 && reach < INT32_MAX / 8;
}

ck_dense_plan ck_dense_make_plan(const ck_dense *d, int threads) {
  const ck_kernels *k = d->kernels;
  int64_t taps[3];
  ck_dense_plan p = {0};
  for (int i = 0; i < 3; i++) {
    taps[i] = d->source.axis[i].taps;
    p.sorted |= d->source.axis[i].stride > 1;
    p.grid.size[i + 1] = d->source.axis[i].outputs;
  }
  p.grid.size[0] = d->n;
  p.reduction = ck_reduction_make(d->channels, taps, ck_kblock_cap(k));
  p.tile_lanes = d->flavour == CK_BY_GROUP || d->lanes <= k->vector ? k->vector : 2 * k->vector;
  if (d->flavour == CK_BY_CHANNEL)
    p.tile_lanes = ck_max(1, ck_min(d->lanes, k->max_height));
  p.outer = d->flavour == CK_BY_GROUP ? ck_ceil_div(d->groups, k->vector) : d->groups;
  p.tiles = d->flavour == CK_BY_GROUP ? d->lanes : ck_ceil_div(d->lanes, p.tile_lanes);
  p.phases = d->phases[0] * d->phases[1] * d->phases[2];
  p.phase_parts = ck_ceil_div(p.phases, CK_TASK_PHASES);
  p.part_phases = ck_min(p.phases, CK_TASK_PHASES);
  int64_t all = p.grid.size[0] * p.grid.size[1] * p.grid.size[2] * p.grid.size[3];
  if (all > 0)
    choose_block(d, &p, threads);
  return p;
}
