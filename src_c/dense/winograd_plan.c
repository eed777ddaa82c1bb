#include "winograd_plan.h"

#include <math.h>

#include "base/memo.h"
#include "dense_cost.h"
#include "multiply.h"

/* Weights that all tasks share, at most: more would come from memory, and each task's own transform takes no longer.
 * And inputs: level 3 has room for them. */
enum { WEIGHT_BYTES = 4 * 1024 * 1024, INPUT_BYTES = 4 * 1024 * 1024 };

int ck_winograd_can(const ck_dense *d) {
  int can = !d->fold && !d->sampler && !d->tapped && d->channels > 0 && d->source.axis[0].taps > 0;
  for (int i = 0; i < 3 && can; i++) {
    const ck_axis *axis = &d->source.axis[i];
    can = d->phases[i] == 1 && axis->outputs > 0 && axis->step == 1 && axis->stride <= 1 && (i == 0 || axis->taps == 3);
  }
  return can;
}

/* From tap to tap, in elements of the source. */
static int64_t distance(const ck_axis *axis) {
  const int64_t step = ck_taps_apart(axis);
  return step < 0 ? -step : step;
}

ck_dense ck_winograd_phase(const ck_dense *d, const ck_winograd_plan *p, int64_t index) {
  ck_dense phase = *d;
  phase.arrangement = CK_BY_PIXEL;
  phase.in_place = 0;
  const int64_t first[3] = {0, index / p->phases[1], index % p->phases[1]};
  for (int i = 1; i < 3; i++) {
    ck_axis *axis = &phase.source.axis[i];
    const int64_t step = distance(axis);
    phase.dst.data = (char *)phase.dst.data + first[i] * d->dst.stride[i + 2];
    phase.dst.stride[i + 2] *= step;
    axis->outputs = ck_ceil_div(ck_max(0, axis->outputs - first[i]), step);
    axis->base += first[i];
    axis->step = step;
  }
  return phase;
}

ck_source ck_winograd_source(const ck_dense *phase) {
  ck_source source = phase->source;
  source.order = CK_LANES;
  source.lane_channels = 1;
  for (int i = 1; i < 3; i++) {
    const ck_axis *axis = &phase->source.axis[i];
    const int64_t first = ck_min(ck_tap_offset(axis, 0), ck_tap_offset(axis, 2));
    source.axis[i] =
        ck_winograd_axis(axis->outputs + CK_WINOGRAD_MARGIN, axis->source, axis->base + first, axis->step, axis->mode);
  }
  return source;
}

void ck_winograd_place(const ck_dense *d, const ck_winograd_plan *p, ck_arena *arena, ck_winograd_buffers *b) {
  const ck_kernels *k = d->kernels;
  const int64_t item = k->real_size, ld = p->direct.tile_lanes;
  const ck_source source = ck_winograd_source(d);
  b->again = ck_take(arena, p->part_tiles * p->tiles);
  b->kept = arena->used;
  ck_window_place(&b->window, k, &source, &p->window, arena);
  b->v = p->round ? NULL : ck_take(arena, CK_WINOGRAD_POINTS * p->v_point * item);
  b->u = p->shared ? NULL : ck_take(arena, CK_WINOGRAD_POINTS * p->u_point * item);
  b->m = ck_take(arena, p->sums * CK_WINOGRAD_POINTS * p->m_point * item);
  b->weights = ck_take(arena, k->vector * CK_WINOGRAD_TAPS * ld * item);
  b->out = ck_take(arena, CK_WINOGRAD_TILE * p->window.outputs[3] * ld * item);
  b->ko = ck_take(arena, p->chunk * p->window.taps[0] * (int64_t)sizeof(int32_t));
  b->ro = ck_take(arena, p->tiles * (int64_t)sizeof(int32_t));
  b->panels = ck_take(arena, ck_row_panel_count(k, p->tiles) * (p->shared ? 1 : CK_WINOGRAD_POINTS) *
                                 (int64_t)sizeof(ck_row_panel));
  b->bias = ck_take(arena, ld * item);
}

static void set_box(const ck_dense *d, ck_winograd_plan *p, int64_t target) {
  int64_t block[4], largest[4];
  ck_row_block(p->grid.size, target, 1, block);
  p->grid = ck_grid_make(p->grid.size, block);
  p->tiles = 1;
  for (int i = 0; i < 4; i++)
    p->tiles *= largest[i] = ck_grid_largest(&p->grid, i);
  p->window = ck_winograd_window(largest, CK_WINOGRAD_MARGIN, p->window.taps[0]);
  const int64_t planes = p->window.outputs[1];
  p->inputs = p->tiles / planes * ck_axis_extent(&d->source.axis[0], planes, p->window.taps[0]);
}

int64_t ck_winograd_tile_bytes(const ck_dense *d, const ck_winograd_plan *p) {
  const int64_t item = d->kernels->real_size, all = d->channels * p->window.taps[0] * p->direct.tile_lanes;
  return (p->shared ? CK_WINOGRAD_POINTS * ck_winograd_point(all, item) : CK_WINOGRAD_TAPS * all) * item;
}

int64_t ck_winograd_panels(const ck_dense *d, const ck_winograd_plan *p) {
  const int64_t all[] = {p->direct.outer, p->direct.tiles, ck_winograd_tile_bytes(d, p)};
  int64_t bytes;
  return ck_product(all, 3, &bytes) ? bytes : INT64_MAX;
}

/* As many boxes a round as level 3 holds the inputs of, and a few tasks a thread that bring them in. */
static void set_round(const ck_dense *d, ck_winograd_plan *p, const ck_run *run) {
  const int64_t vector = d->kernels->vector, box = CK_WINOGRAD_POINTS * p->v_point * d->kernels->real_size;
  const int64_t most = ck_max(1, ck_min(p->round, INPUT_BYTES / ck_max(1, box)));
  p->round = ck_ceil_div(p->boxes, ck_ceil_div(p->boxes, most));
  p->input_bytes = p->round * box;
  p->input_tasks = ck_min(ck_ceil_div(4 * run->threads, p->round), ck_ceil_div(d->channels, vector));
}

static void set_cut(const ck_dense *d, ck_winograd_plan *p, int rounds, const ck_run *run) {
  const int64_t item = d->kernels->real_size, ld = p->direct.tile_lanes, vector = d->kernels->vector;
  p->boxes = p->direct.outer * p->phases[0] * p->phases[1] * ck_grid_count(&p->grid);
  p->round = rounds ? p->boxes : 0; /* at most */
  p->part_tiles = ck_ceil_div(p->direct.tiles, p->tile_parts);
  p->sums = p->round || p->chunk < d->channels ? p->part_tiles : 1;
  p->v_tile = p->round ? ck_round_up(d->channels, vector) : p->chunk;
  p->v_point = ck_winograd_point(p->inputs * p->v_tile, item);
  p->u_point = ck_winograd_point((p->shared ? d->channels * p->window.taps[0] : p->formed) * ld, item);
  p->m_point = ck_winograd_point(p->tiles * ld, item);
  p->weight_bytes = p->shared && !d->prepared ? ck_winograd_panels(d, p) : 0;
  p->tasks = p->boxes * p->tile_parts;
  p->input_bytes = 0;
  if (p->round)
    set_round(d, p, run);
  ck_arena count = {0};
  ck_winograd_buffers b;
  ck_winograd_place(d, p, &count, &b);
  p->bytes = ck_max(count.used, b.kept + p->direct.bytes);
}

/* ---------------------------------------------------------------- cost, in cycles */

/* For `tile` bytes out of `all`, which come once for each box; the wait is hidden by what is multiplied meanwhile. */
static double wait_cycles(double all, double tile, int64_t level2, double meanwhile) {
  const double each = all < ck_cost.kept[2] * (double)level2 ? 0
                      : all < CK_FAR_WEIGHTS                 ? ck_cost.level3
                                                             : ck_cost.memory;
  return tile * ck_cost.level2 + fmax(0, tile * each - meanwhile);
}

/* Points of a lane tile's weights, from where they are. */
static double form_cycles(const ck_dense *d, const ck_winograd_plan *p) {
  const double products = (double)(d->channels * p->window.taps[0]), ld = (double)p->direct.tile_lanes;
  return products * (d->prepared ? 0 : CK_WINOGRAD_TAPS * ld * ck_cost.pack) +
         products * ld / d->kernels->vector * ck_tile_weights_cycles(d->kernels);
}

static double shared_cycles(const ck_dense *d, const ck_winograd_plan *p, const ck_run *run) {
  if (!p->shared || d->prepared)
    return 0;
  const double tiles = (double)(p->direct.outer * p->direct.tiles) / run->threads;
  return tiles * form_cycles(d, p) + ck_region_cycles(run);
}

/* The weights of a lane tile: what lies ready of them, and points that the task forms, which are written and read: the
 * more at a time, the fewer of them stay close. */
static double panel_cycles(const ck_dense *d, const ck_winograd_plan *p, double meanwhile) {
  const double tile = (double)ck_winograd_tile_bytes(d, p), all = (double)ck_winograd_panels(d, p);
  const double ready = p->shared || d->prepared ? wait_cycles(all, tile, p->direct.level2, meanwhile) : 0;
  if (p->shared)
    return ready;
  const double bytes = CK_WINOGRAD_POINTS * (double)(p->u_point * d->kernels->real_size);
  const double times = (double)ck_ceil_div(d->channels * p->window.taps[0], p->formed);
  return ready + form_cycles(d, p) + times * bytes * ck_cost.level2 * (1 + bytes / (double)p->direct.level2);
}

/* To bring in the inputs of a box; those of a round go to level 3. */
static double input_cycles(const ck_dense *d, const ck_winograd_plan *p) {
  const ck_source source = ck_winograd_source(d);
  const int apart = source.tensor.stride[1] != (int64_t)d->kernels->real_size;
  const double stage = (double)ck_window_elements(d->kernels, &source, &p->window);
  const double written = p->round ? CK_WINOGRAD_POINTS * (double)(p->v_point * d->kernels->real_size) : 0;
  return (double)ck_ceil_div(d->channels, d->kernels->vector) *
             (stage * (apart ? ck_cost.stage_turned : ck_cost.stage) + (double)p->inputs * ck_tile_cycles(d->kernels)) +
         written * ck_cost.level3;
}

/* Of a task but for its inputs: sums, what they read and write, outputs. Chains are cut at chunks and units. */
static double sum_cycles(const ck_dense *d, const ck_winograd_plan *p) {
  const ck_kernels *k = d->kernels;
  const double item = (double)k->real_size, tiles = (double)p->tiles;
  const double products = (double)(d->channels * p->window.taps[0]);
  const int64_t chunks = ck_ceil_div(d->channels, p->chunk), chunk = p->chunk * p->window.taps[0];
  const double cuts = (double)(p->shared ? chunks : chunks * ck_ceil_div(chunk, p->formed));
  const double ld = (double)p->direct.tile_lanes, lanes = ld / k->vector, points = CK_WINOGRAD_POINTS;
  const double sums = points * cuts * (ck_cost.strip + ck_rows_cycles(k, tiles, lanes, products / cuts, 1));
  const double outputs = tiles * lanes *
                         (ck_tile_cycles(d->kernels) +
                          16 * k->vector * (d->dst.stride[1] == k->real_size ? ck_cost.drain : ck_cost.drain_turned));
  const double reread =
      points * (tiles * products + (cuts > 1 ? 2 * cuts * tiles * ld : tiles * ld)) * item * ck_cost.level2;
  const double brought = p->round ? points * tiles * products * item * ck_cost.level3 : 0;
  return (double)p->part_tiles * (sums + panel_cycles(d, p, sums) + outputs + reread) + brought + ck_cost.task;
}

static double all_cycles(const ck_dense *d, const ck_winograd_plan *p, const ck_run *run) {
  const double inputs = input_cycles(d, p), sums = sum_cycles(d, p), weights = shared_cycles(d, p, run);
  if (!p->round)
    return (double)ck_ceil_div(p->tasks, run->threads) * (inputs + sums) + weights;
  const double rounds = (double)ck_ceil_div(p->boxes, p->round);
  const double tasks = (double)ck_ceil_div(p->round * p->input_tasks, run->threads);
  const double bring = tasks * (inputs / (double)p->input_tasks + ck_cost.task) + ck_region_cycles(run);
  return rounds * (bring + (double)ck_ceil_div(p->round * p->tile_parts, run->threads) * sums) + weights;
}

/* ---------------------------------------------------------------- the cheapest */

/* Bytes above what a thread, and the call, may have. */
static int64_t excess(const ck_winograd_plan *p, const ck_run *run) {
  int64_t bytes = p->bytes - CK_THREAD_BYTES;
  if (run->limit)
    bytes = ck_max(bytes, p->weight_bytes + p->input_bytes + run->threads * p->bytes - run->limit);
  return ck_max(bytes, 0);
}

static int is_better(const ck_winograd_plan *a, const ck_winograd_plan *b, const ck_run *run) {
  const int64_t over = excess(a, run), other = excess(b, run);
  return over < other || (over == other && a->cycles < b->cycles);
}

static void try(const ck_dense *d, ck_winograd_plan *trial, int rounds, const ck_run *run, ck_winograd_plan *best) {
  set_cut(d, trial, rounds, run);
  trial->cycles = all_cycles(d, trial, run);
  if (trial->weight_bytes <= WEIGHT_BYTES && trial->input_bytes <= INPUT_BYTES &&
      (best->cycles == 0 || is_better(trial, best, run)))
    *best = *trial;
}

/* Weights, and inputs, transformed once or by each task, of weights a vector of products at a time, or as many as level
 * 1 holds of a point's panel, or in between. Prepared taps in place of points, which are four times as many bytes, took
 * 0.63 of the time for 512 channels at 7x7 in ResNet-50 (Zen 4, two threads: 1.2 to 0.75 ms), where all 38 MB came from
 * memory for each image; 256 at 14x14 took 1.1 times as long. */
static void try_sharing(const ck_dense *d, ck_winograd_plan *trial, const ck_run *run, ck_winograd_plan *best) {
  const int64_t vector = d->kernels->vector, row = trial->direct.tile_lanes * d->kernels->real_size;
  for (int rounds = 0; rounds < 2; rounds++) {
    trial->shared = 1;
    try(d, trial, rounds, run, best);
    trial->shared = 0;
    trial->formed = ck_round_up(ck_multiply_piece(d->kernels, trial->chunk * trial->window.taps[0], row, 0), vector);
    for (;;) {
      try(d, trial, rounds, run, best);
      if (trial->formed <= vector)
        break;
      trial->formed = ck_round_up(trial->formed / 2, vector);
    }
  }
}

/* Tries boxes, chunks of channels, splits of the lane tiles. */
static void choose(const ck_dense *d, ck_winograd_plan *p, const ck_run *run) {
  static const int64_t targets[] = {128, 112, 84, 64, 56, 42, 32, 28, 24, 16, 14, 12, 8, 6, 4, 2, 1};
  const int64_t vector = d->kernels->vector, tiles = p->direct.tiles;
  ck_winograd_plan trial = *p;
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    set_box(d, &trial, targets[i]);
    for (int64_t chunks = 1; chunks == 1 || d->channels / chunks >= 2 * vector; chunks *= 2) {
      trial.chunk = ck_round_up(ck_ceil_div(d->channels, chunks), vector);
      for (int64_t parts = 1; parts > 0; parts = ck_next_parts(parts, tiles)) {
        trial.tile_parts = parts;
        try_sharing(d, &trial, run, p);
      }
    }
  }
}

static ck_winograd_plan cheapest_plan(const ck_dense *d, const ck_run *run) {
  ck_winograd_plan p = {.phases = {1, 1}};
  for (int i = 1; i < 3; i++)
    p.phases[i - 1] = ck_min(distance(&d->source.axis[i]), d->source.axis[i].outputs);
  ck_dense phase = ck_winograd_phase(d, &p, 0);
  p.grid.size[0] = d->n;
  p.grid.size[1] = phase.source.axis[0].outputs;
  for (int i = 1; i < 3; i++)
    p.grid.size[i + 1] = ck_ceil_div(phase.source.axis[i].outputs, CK_WINOGRAD_TILE);
  p.window.taps[0] = phase.source.axis[0].taps;
  p.direct = ck_dense_plan_rows(&phase, CK_WINOGRAD_TILE, CK_WINOGRAD_AGAIN * CK_WINOGRAD_TILE);
  choose(&phase, &p, run);
  return p;
}

ck_winograd_plan ck_winograd_make_plan(const ck_dense *d, const ck_run *run) {
  ck_memo_key key = {0};
  ck_winograd_plan plan;
  ck_dense_add_to_key(&key, d, 0, run); /* no arrangement: none of dense_plan.c's */
  if (!ck_memo_find(&key, &plan, sizeof plan)) {
    plan = cheapest_plan(d, run);
    ck_memo_keep(&key, &plan, sizeof plan);
  }
  return plan;
}

_Static_assert(sizeof(ck_winograd_plan) <= CK_MEMO_BYTES, "a plan must fit its place");
