#include "dense_plan.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/cpu.h"
#include "dense_cost.h"
#include "dense_patching.h"
#include "dense_place.h"
#include "lines.h"
#include "sheets.h"

/* Groups a task works off at most, and tasks a thread that share out evenly; set by hand. */
enum { MOST_GROUPS = 64, TASKS_A_THREAD = 6 };
/* Tasks that take less than that are joined, if they are of whole images, whose tables are alike.
 * 24000 to 65536 were as good on two threads: 32 images of 8x8, 1 to 16 channels, 3x3, take 0.88 of the time of four
 * tasks on two threads, 0.85 on one (Zen 4, AVX-512). */
enum { TASK_CYCLES = 32768 };

/* A plan beyond a thread's scratch counts so many times: any that fits is better. Of those beyond a caller's limit that
 * of the fewest bytes is, since he is told how many. */
static const double NOT_FITTING = 1e9;

static int exceeds(const ck_dense_plan *p, const ck_run *run) {
  return run->limit && p->bytes > run->limit / run->threads;
}

static double not_fitting(const ck_dense_plan *p, double cycles, const ck_run *run) {
  return NOT_FITTING * (exceeds(p, run) ? NOT_FITTING * (double)p->bytes : cycles);
}

static atomic_int only, only_reads;

void ck_arrangements_take_only(int arrangements, int reads) {
  atomic_store_explicit(&only, arrangements, memory_order_relaxed);
  atomic_store_explicit(&only_reads, reads, memory_order_relaxed);
}

/* Those that may be taken. Lines have no estimate, and are taken wherever they can be. */
static int considered(const ck_dense *d) {
  const int wanted = d->arrangements & atomic_load_explicit(&only, memory_order_relaxed);
  const int all = wanted ? wanted : d->arrangements;
  return all & 1 << CK_LINES ? 1 << CK_LINES : all;
}

const char *ck_arrangement_name(int arrangement) {
  static const char *const names[] = {[CK_BY_PIXEL] = "by_pixel", [CK_BY_CHANNEL] = "by_channel",
                                      [CK_BY_GROUP] = "by_group", [CK_UNPACKED] = "unpacked",
                                      [CK_SHEETS] = "sheets",     [CK_LINES] = "lines"};
  return arrangement >= 0 && arrangement < CK_ARRANGEMENTS ? names[arrangement] : NULL;
}

/* Whether enough outputs read padding along an axis for it to be planned for; those from `first` to `end` do not. */
static int reads_padding(const ck_axis *axis, int64_t *first, int64_t *end) {
  enum { FEW = 8 }; /* of so many, less than one */
  ck_axis_inner(axis, first, end);
  return axis->taps > 1 && (*end - *first) * FEW <= axis->outputs * (FEW - 1);
}

/* Of all products of outputs and taps along the axes, the part whose tap is not padding for the whole block. */
static double taken_share(const ck_dense *d, const ck_grid *grid) {
  double share = 1;
  for (int i = 0; i < 3; i++) {
    const ck_axis *axis = &d->source.axis[i];
    int64_t first, size, tap, taps, end, taken = 0;
    if (!reads_padding(axis, &first, &end))
      continue;
    for (int64_t part = 0; part < grid->parts[i + 1]; part++) {
      ck_grid_part(grid, i + 1, part, &first, &size);
      ck_axis_taken(axis, first, size, &tap, &taps);
      taken += size * taps;
    }
    share *= (double)taken / ((double)axis->outputs * (double)axis->taps);
  }
  return share;
}

/* Several groups in one task, but enough tasks for all threads. */
static int64_t groups_each(const ck_dense_plan *p, int threads) {
  const int64_t wanted = threads > 1 ? TASKS_A_THREAD * threads : 1, others = p->tile_parts * ck_grid_count(&p->grid);
  const int64_t most = ck_max(1, ck_min(MOST_GROUPS, p->outer / ck_max(1, ck_ceil_div(wanted, ck_max(1, others)))));
  return ck_max(1, ck_ceil_div(p->outer, ck_max(1, ck_ceil_div(p->outer, most)))); /* all tasks alike */
}

/* Tasks of so many blocks, one after the other. */
static void set_turns(const ck_dense *d, ck_dense_plan *p, int64_t turns) {
  p->turns = turns;
  p->tasks = ck_ceil_div(p->outer, p->each) * p->tile_parts * ck_ceil_div(ck_grid_count(&p->grid), turns) *
             (d->fold ? 1 : p->phase_parts);
}

/* Blocks of whole images for tasks that are long enough, as many for each thread. */
static int64_t turns_of(const ck_dense *d, const ck_dense_plan *p, int threads, double cycles) {
  const int64_t images = p->grid.parts[0];
  if (d->fold || d->arrangement == CK_UNPACKED || images < 2 || ck_grid_count(&p->grid) != images)
    return p->turns;
  const double rounds = fmax(1, (double)p->tasks * cycles / (threads * (double)TASK_CYCLES));
  const int64_t wanted = (int64_t)fmin(rounds, (double)p->tasks) * threads;
  return ck_max(1, images / ck_ceil_div(wanted, p->tasks / images));
}

static void set_block(const ck_dense *d, ck_dense_plan *p, int threads, const int64_t block[4], int64_t tile_parts,
                      const int64_t edge[4][2]) {
  p->grid = ck_grid_make_cut(p->grid.size, block, edge);
  p->window = ck_window_size_of(&p->grid, &p->reduction);
  p->pixels = 1;
  for (int i = 0; i < 4; i++)
    p->pixels *= p->window.outputs[i];
  if (p->taken == 0) {
    p->taken = d->sampler ? 1 : taken_share(d, &p->grid);
    p->patching = p->patch_axes ? ck_dense_patching(d, p->patch_axes, &p->grid)
                                : (ck_patching){.most = 1, .along = {1, 1, 1}, .mean = 1, .taken = p->taken};
  }
  p->tile_parts = ck_min(tile_parts, ck_max(1, p->tiles));
  p->part_tiles = ck_ceil_div(p->tiles, p->tile_parts);
  p->kmax = ck_max(1, p->window.channels * ck_taps_of(p->window.taps));
  int64_t elements = p->pixels * ck_round_up(p->tile_lanes, d->kernels->vector);
  if (d->arrangement == CK_BY_CHANNEL) {
    const int64_t *size = p->window.outputs; /* rows by themselves, or whole planes with up to a quarter between them */
    int64_t row = size[0] * size[1] * size[2] * ck_round_up(size[3], d->kernels->vector);
    elements = ck_max(row, p->pixels * 5 / 4 + size[0] * size[1] * d->kernels->vector) * p->tile_lanes;
  }
  p->acc_phase = ck_round_up(elements * d->kernels->real_size, 64);
  p->each = d->arrangement == CK_BY_PIXEL ? 1 : groups_each(p, threads);
  /* A folding task keeps all blocks and phases of its image, which add into the same elements. */
  set_turns(d, p, d->fold ? ck_grid_count(&p->grid) / p->grid.parts[0] : 1);
  ck_arena count = {0};
  ck_buffers b;
  ck_dense_place(d, p, &count, &b);
  p->bytes = count.used;
}

/* Whether several padded positions are added to one element. Their order must not follow from blocks: it is phase by
 * phase and, since blocks are then of whole rows or parts of one, row by row. */
static int is_repeated(const ck_dense *d) { return d->fold == CK_REPLICATE; }

int64_t ck_next_parts(int64_t parts, int64_t tiles) {
  return parts >= tiles ? 0 : parts < 4 ? parts + 1 : ck_min(2 * parts, tiles);
}

static int64_t source_bytes(const ck_dense *d) {
  const ck_axis *a = d->source.axis;
  const int64_t item = d->kernels->real_size;
  const int64_t sizes[] = {d->n, d->groups, d->channels, a[0].source, a[1].source, a[2].source, item};
  int64_t bytes;
  return ck_product(sizes, 7, &bytes) ? bytes : INT64_MAX;
}

static int comes_from_memory(const ck_dense *d) { return source_bytes(d) >= CK_FAR_SOURCE; }

/* Patches are taken only where they are estimated to take so many times less: of 110 random layers that read much
 * padding none but small ones then takes more than 1.13 times as long as without (Zen 4, AVX-512). */
static const double PATCHED = 1.1;

/* Takes the trial's cut, once it has so many tasks' tiles, if it fits and is estimated to take less than the plan's. */
static void try_cut(const ck_dense *d, ck_dense_plan *trial, ck_dense_plan *p, const ck_run *run,
                    const int64_t block[4], int64_t parts, const int64_t edge[4][2]) {
  set_block(d, trial, run->threads, block, parts, edge);
  if (trial->bytes > ck_thread_bytes(run, d->sampler ? CK_SAMPLED_BYTES : CK_THREAD_BYTES))
    return;
  const double shared = run->threads > 1 ? ck_dense_shared_cycles(d, trial) : 0;
  double cycles = ck_dense_task_cycles(d, trial) + shared;
  const int64_t turns = turns_of(d, trial, run->threads, cycles);
  if (turns != trial->turns) {
    set_turns(d, trial, turns);
    cycles = ck_dense_task_cycles(d, trial);
  }
  const double waves = (double)ck_ceil_div(trial->tasks, run->threads);
  const double time = waves * cycles * (trial->patching.most > 1 ? PATCHED : 1);
  if (p->cycles > 0 && time >= p->cycles)
    return;
  *p = *trial;
  p->cycles = time;
}

/* Where nothing fits, the smallest block there is, for want of an arrangement that does. */
static void take_smallest(const ck_dense *d, ck_dense_plan *p, const ck_run *run, const int64_t edge[4][2]) {
  const int64_t one[4] = {1, 1, 1, 1};
  set_block(d, p, run->threads, one, p->tiles, edge);
  const double cycles = (double)ck_ceil_div(p->tasks, run->threads) * ck_dense_task_cycles(d, p);
  p->cycles = not_fitting(p, cycles, run);
}

/* Tries block sizes, cuts of the innermost axis and splits of the lane tiles; keeps the least estimated time that fits
 * a thread's scratch, if that is less than the plan has already. */
static void choose_block(const ck_dense *d, ck_dense_plan *p, const ck_run *run, const int64_t edge[4][2]) {
  /* Outputs: multiples of 28 and 56, which the rows of published networks have. */
  static const int64_t windows[] = {6272, 3136, 1568, 896, 784, 560, 448, 392, 280, 224, 112, 56, 28, 14, 7, 1};
  static const int64_t columns[] = {0,   0,   0,   392, 336, 280, 224, 196,
                                    168, 140, 112, 84,  56,  28,  14,  1}; /* nine times as large */
  const int64_t *targets = d->sampler ? columns : windows;
  ck_dense_plan trial = *p;
  int64_t all = p->grid.size[0] * p->grid.size[1] * p->grid.size[2] * p->grid.size[3];
  /* Blocks smaller than that are for windows that fit no other way; or, where no task packs, for the last thread. */
  const int64_t least = d->prepared && run->threads > 1 ? ck_min(56, ck_ceil_div(all, run->threads)) : 56;
  const int may_cut = !is_repeated(d) && !(d->in_place && comes_from_memory(d));
  /* Patches of a few outputs become of many images, phases pack as many panels again, and threads that store to parts
   * of one plane wait for each other. */
  const int shares = d->in_place && run->threads > 1;
  const int may_be_large = p->patch_axes || ck_dense_by_plane(d) || p->part_phases > 1 || shares;
  for (size_t i = may_be_large ? 0 : 3; i < sizeof windows / sizeof *windows; i++) {
    if (i > 3 && targets[i] < least && p->cycles > 0)
      break;
    if (i + 1 < sizeof windows / sizeof *windows && targets[i + 1] / p->part_phases >= all)
      continue;
    for (int64_t cuts = 1; cuts <= 4 && (cuts == 1 || (may_cut && p->grid.size[3] / cuts >= 28)); cuts *= 2) {
      int64_t block[4];
      ck_row_block(p->grid.size, ck_max(1, targets[i] / p->part_phases), cuts, block);
      if (d->sampler) /* the image around a block is staged */
        ck_square_block(p->grid.size, targets[i], 4, block);
      if (d->fold)
        block[0] = 1; /* padded positions of one image meet in one task */
      trial.taken = 0;
      for (int64_t parts = 1; parts > 0; parts = ck_next_parts(parts, p->tiles))
        try_cut(d, &trial, p, run, block, parts, edge);
    }
  }
  if (p->cycles <= 0)
    take_smallest(d, p, run, edge);
}

/* Whether outputs read elements as they are, none of them padding. */
static int is_unpadded(const ck_dense *d) {
  int inside = ck_dense_is_plain(d);
  for (int i = 0; i < 3; i++)
    inside &= ck_axis_is_inside(&d->source.axis[i]);
  return inside;
}

/* Whether it is a transposed convolution, if of one phase. */
static int has_phases(const ck_dense *d) {
  return d->source.axis[0].stride + d->source.axis[1].stride + d->source.axis[2].stride > 0;
}

static int is_one_tap(const ck_dense *d) { return is_unpadded(d) && ck_axes_taps(d->source.axis) == 1; }

/* Whether the source can be read in place. */
static int reads_in_place(const ck_dense *d, ck_arrangement arrangement) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size, *stride = s->tensor.stride;
  int64_t reach = 0, sizes[5] = {d->n, d->channels, s->axis[0].source, s->axis[1].source, s->axis[2].source};
  const int pixels = arrangement == CK_BY_PIXEL && (s->order == CK_PLANES || s->order == CK_INTERLEAVED);
  const int channels = arrangement == CK_BY_CHANNEL && s->axis[2].step == 1 && stride[4] == item;
  const int rows_meet = s->axis[1].taps > 1 && stride[3] % 4096 == 0;
  int fits = (pixels || channels) && is_unpadded(d);
  fits &= is_one_tap(d) || (!has_phases(d) && !rows_meet);
  for (int i = 0; i < 5 && fits; i++) {
    fits &= stride[i] >= 0 && stride[i] % item == 0;
    reach += fits ? ck_min(sizes[i], INT32_MAX) * ck_min(stride[i] / item, INT32_MAX) / 8 : 0;
  }
  /* Planes, or rows, a multiple of 4096 bytes apart would meet in one cache set. */
  return fits && (uintptr_t)s->tensor.data % (uintptr_t)item == 0 && stride[1] % 4096 != 0 && reach < INT32_MAX / 8;
}

static ck_order order_for(const ck_dense *d, ck_arrangement arrangement) {
  if (arrangement == CK_BY_PIXEL)
    return d->source.order;
  return arrangement == CK_BY_GROUP ? CK_LANES : CK_PLANES;
}

/* Whether the source can be copied in the bands that register tiles take. */
static int fits_bands(const ck_dense *d) { return d->source.order == CK_PLANES && d->lanes > 1 && is_one_tap(d); }

/* Whether by channel the source may be written out as columns, in which outputs are neighbours whose rows a window
 * keeps apart. */
static int fits_columns(const ck_dense *d) {
  const ck_source *s = &d->source;
  return s->order == CK_PLANES && d->lanes > 1 && d->n > 0 && !is_one_tap(d) && !d->sampler && !d->fold && !d->tapped &&
         !s->act_y.data && !has_phases(d);
}

/* What tasks may read, a bit each. */
static int may_read(const ck_dense *d, ck_arrangement arrangement) {
  if (arrangement == CK_UNPACKED || arrangement == CK_SHEETS || arrangement == CK_LINES)
    return 1 << CK_READS_INPUT;
  return 1 << CK_READS_WINDOW | reads_in_place(d, arrangement) << CK_READS_INPUT |
         (arrangement == CK_BY_CHANNEL && fits_columns(d)) << CK_READS_COLUMNS;
}

/* Elements of a row that are neighbours in memory are copied, and for groups on the lanes transposed, by vectors; those
 * of a stride one by one, or those of each tap. So it takes less to copy what lies between, too, up to so many in all:
 * of 23 random layers of groups that are mostly holes 0.91 of the time, of 31 by pixel 0.95, at best 0.52 and 0.54. Of
 * groups four would take 1.5; by pixel, a row that one tap reads 1.4 (Zen 4, one thread, AVX-512). */
enum { HOLES = 3 };

static int is_copied_by_vectors(const ck_dense *d, ck_order order) {
  const int by_pixel = d->arrangement == CK_BY_PIXEL && order == CK_PLANES && d->source.axis[2].taps > 1;
  return d->source.tensor.stride[4] == d->kernels->real_size && (by_pixel || order == CK_LANES);
}

static void set_order(ck_dense *d, ck_order order, int64_t lanes) {
  const ck_kernels *k = d->kernels;
  const int by_channel = d->arrangement == CK_BY_CHANNEL;
  d->source.order = order;
  d->source.axis[2].adjacent = by_channel;
  d->source.axis[2].holes = is_copied_by_vectors(d, order) ? HOLES : 1;
  d->source.band_unit = by_channel ? k->vector : 1;
  d->source.band = by_channel ? k->vector * k->lane_vectors[lanes] : k->max_height;
}

/* From memory, by channel and in place the first tile of outputs reads so many planes at a time: of more the machine
 * does not follow each, and memory is slower. 78 to 22 channels, 1x1, on 82x82 take 0.72 of the time (Zen 3). Those
 * that level 3 holds would take 1.15 times as long, and tiles that find them in level 2 1.2 (Zen 4, one thread). */
enum { STREAMS = 16 };

static int64_t streams_of(const ck_dense *d) {
  const int by_channel = d->in_place && d->arrangement == CK_BY_CHANNEL && d->lanes > 1;
  return by_channel && d->channels >= 2 * STREAMS && comes_from_memory(d) ? STREAMS : 0;
}

/* All but the blocks. Of one tap planes are copied in bands, unless they may be, and can be, read in place. */
static ck_dense_plan start_plan(ck_dense *d, ck_arrangement arrangement, ck_reads from) {
  const ck_kernels *k = d->kernels;
  int64_t taps[3];
  ck_dense_plan p = {.level1 = ck_cpu_cache(1), .level2 = ck_cpu_cache(2)};
  d->arrangement = arrangement;
  d->source.order = from == CK_READS_COLUMNS ? CK_COLUMNS : order_for(d, arrangement);
  d->in_place = from == CK_READS_INPUT;
  for (int i = 0; i < 3; i++) {
    taps[i] = d->source.axis[i].taps;
    p.sorted |= d->source.axis[i].stride > 1;
    p.grid.size[i + 1] = d->source.axis[i].outputs;
  }
  p.far = comes_from_memory(d);
  p.streams = streams_of(d);
  p.grid.size[0] = d->n;
  p.reduction = ck_dense_reduction(k, d->channels, taps);
  int64_t most = (arrangement != CK_UNPACKED ? 2 : d->w_lane == k->real_size ? 32 : 8) * k->vector;
  if (arrangement == CK_BY_CHANNEL)
    most = k->max_height;
  p.tiles = arrangement == CK_BY_GROUP ? d->lanes : ck_ceil_div(d->lanes, most);
  p.tile_lanes = arrangement == CK_BY_GROUP || d->lanes <= k->vector ? k->vector : most;
  if (arrangement == CK_BY_CHANNEL)
    p.tile_lanes = ck_max(1, ck_ceil_div(d->lanes, ck_max(1, p.tiles)));
  if (arrangement == CK_UNPACKED)
    p.tile_lanes = ck_min(most, ck_round_up(d->lanes, k->vector));
  set_order(d, !d->in_place && fits_bands(d) ? CK_BANDS : d->source.order, p.tile_lanes);
  p.outer = arrangement == CK_BY_GROUP ? ck_ceil_div(d->groups, k->vector) : d->groups;
  p.phases = d->phases[0] * d->phases[1] * d->phases[2];
  const int64_t together = is_repeated(d) ? 1 : CK_TASK_PHASES;
  p.phase_parts = ck_ceil_div(p.phases, together);
  p.part_phases = ck_min(p.phases, together);
  return p;
}

ck_dense_plan ck_dense_plan_rows(ck_dense *d, int64_t rows, int64_t columns) {
  ck_dense_plan p = start_plan(d, CK_BY_PIXEL, CK_READS_WINDOW);
  const int64_t block[4] = {1, 1, ck_min(rows, p.grid.size[2]), ck_min(columns, p.grid.size[3])};
  const int64_t edge[4][2] = {{1, 1}, {1, 1}, {block[2], block[2]}, {block[3], block[3]}};
  memcpy(p.grid.size, block, sizeof block); /* no cuts, which would make all blocks alike, and smaller */
  set_block(d, &p, 1, block, 1, edge);
  return p;
}

/* Of the axes along which padding is read by more than a few outputs, a bit each; and where blocks then end. */
static int padded_axes(const ck_dense *d, int64_t edge[4][2]) {
  int axes = 0;
  for (int i = 0; i < 3; i++) {
    int64_t first, end;
    if (!reads_padding(&d->source.axis[i], &first, &end))
      continue;
    edge[i + 1][0] = ck_min(first, end);
    edge[i + 1][1] = ck_max(first, end);
    axes |= 1 << i;
  }
  return axes;
}

/* With blocks that are cut into patches along these axes. */
static void choose_patches(const ck_dense *d, ck_dense_plan *p, const ck_run *run, const int64_t whole[4][2],
                           int axes) {
  ck_dense_plan trial = *p;
  trial.patch_axes = axes;
  trial.patching.most = 1;
  choose_block(d, &trial, run, whole);
  if (trial.patching.most > 1)
    *p = trial;
}

static ck_dense_plan plan_source(ck_dense *d, ck_arrangement arrangement, ck_reads from, const ck_run *run) {
  enum { ROWS = 1 << 0 | 1 << 1 };
  ck_dense_plan p = start_plan(d, arrangement, from);
  if (arrangement == CK_SHEETS || arrangement == CK_LINES) {
    (arrangement == CK_SHEETS ? ck_sheets_plan : ck_lines_plan)(d, run, &p);
    if (p.cycles > 0 && exceeds(&p, run))
      p.cycles = not_fitting(&p, p.cycles, run);
    return p;
  }
  int64_t all = p.grid.size[0] * p.grid.size[1] * p.grid.size[2] * p.grid.size[3];
  if (all == 0)
    return p;
  int64_t whole[4][2], edge[4][2];
  for (int i = 0; i < 4; i++)
    whole[i][0] = whole[i][1] = edge[i][0] = edge[i][1] = p.grid.size[i];
  choose_block(d, &p, run, whole);
  int axes = d->fold || d->sampler ? 0 : padded_axes(d, edge);
  if (axes)
    choose_block(d, &p, run, edge);
  axes = arrangement == CK_BY_PIXEL && p.phases == 1 && !p.sorted ? ck_dense_patch_axes(d, axes) : 0;
  if (axes)
    choose_patches(d, &p, run, whole, axes);
  if (axes & ROWS && axes & ~ROWS) /* of whole rows, too, which are longer runs to store */
    choose_patches(d, &p, run, whole, axes & ROWS);
  p.cycles += ck_dense_last_cycles(d, &p);
  return p;
}

/* Of each of these arrangements with each way to read that it may have. */
static ck_dense_plan cheapest_plan(ck_dense *d, int arrangements, const ck_run *run) {
  const int reads = atomic_load_explicit(&only_reads, memory_order_relaxed);
  const ck_dense as_it_is = *d;
  ck_dense_plan best = {0};
  for (int a = 0; a < CK_ARRANGEMENTS; a++) {
    const int may = arrangements & 1 << a ? may_read(&as_it_is, a) : 0, wanted = may & reads;
    for (ck_reads from = CK_READS_WINDOW; from <= CK_READS_COLUMNS; from++) {
      if (!((wanted ? wanted : may) & 1 << from))
        continue;
      ck_dense trial = as_it_is;
      const ck_dense_plan plan = plan_source(&trial, a, from, run);
      if (best.cycles > 0 && plan.cycles >= best.cycles)
        continue;
      best = plan;
      *d = trial;
    }
  }
  return best;
}

int64_t ck_dense_panel_bytes(const ck_dense *d, const ck_dense_plan *p) {
  const int64_t ld = ck_dense_by_plane(d) ? 1 : ck_round_up(p->tile_lanes, d->kernels->vector);
  return p->kmax * ld * d->kernels->real_size;
}

/* Of these arrangements those whose weights become panels that all tasks may share. */
static int shareable(int arrangements) {
  return arrangements & (1 << CK_BY_PIXEL | 1 << CK_BY_CHANNEL | 1 << CK_BY_GROUP);
}

int64_t ck_dense_panels(const ck_dense *d, const ck_dense_plan *p) {
  if (d->arrangement == CK_LINES)
    return ck_lines_panels(d);
  int64_t all[] = {p->outer, p->tiles, ck_reduction_count(&p->reduction), ck_dense_panel_bytes(d, p) + 1}, bytes;
  const int none = p->phase_parts > 1 || !shareable(1 << d->arrangement);
  return none || !ck_product(all, 4, &bytes) ? 0 : bytes;
}

/* Weights of so many bytes are packed once for all tasks where that costs less than that each packs them: then blocks
 * may be small. More would come from memory. */
enum { PACKED_BYTES = 8 * 1024 * 1024 };

static ck_dense_plan cheapest_packing(ck_dense *d, int arrangements, const ck_run *run) {
  ck_dense trial = *d; /* as it is before a plan arranges its source */
  const ck_dense_plan best = cheapest_plan(d, arrangements, run);
  const int sharing = shareable(arrangements);
  if (d->prepared || best.tasks == 0 || !sharing)
    return best;
  trial.prepared = 1;
  ck_dense_plan plan = cheapest_plan(&trial, sharing, run);
  plan.packed = ck_round_up(ck_dense_panels(&trial, &plan), 64);
  plan.cycles += ck_dense_pack_cycles(&trial, &plan) / run->threads + ck_region_cycles(run);
  const int fits =
      plan.packed <= PACKED_BYTES && (!run->limit || plan.packed + run->threads * plan.bytes <= run->limit);
  const int shared = plan.packed && ck_grid_count(&plan.grid) > 1; /* by several blocks */
  if (!shared || !fits || plan.cycles >= best.cycles)
    return best;
  *d = trial;
  d->prepared = 0;
  return plan;
}

double ck_dense_cycles(const ck_dense *d, int arrangement, const ck_run *run) {
  ck_dense trial = *d;
  return considered(d) & 1 << arrangement ? cheapest_packing(&trial, 1 << arrangement, run).cycles : 0;
}

/* All that a plan follows from: of arrays whether they are there, their strides, and what keeps the source's elements
 * from being read where they are. */
void ck_dense_add_to_key(ck_memo_key *key, const ck_dense *d, int arrangements, const ck_run *run) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size;
  const int64_t words[] = {(int64_t)(uintptr_t)d->kernels,
                           d->n,
                           d->groups,
                           d->channels,
                           d->lanes,
                           arrangements,
                           run->threads,
                           run->limit,
                           s->order,
                           s->act_y.data != NULL,
                           (int64_t)((uintptr_t)s->tensor.data % (uintptr_t)item),
                           d->tapped,
                           d->fold,
                           d->prepared,
                           d->w_lane == item,
                           d->w_lane > 4 * item,
                           d->add,
                           atomic_load_explicit(&only_reads, memory_order_relaxed),
                           ck_cost_changes};
  ck_key_add_all(key, words, sizeof words / sizeof *words);
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &s->axis[i];
    const int64_t axis[] = {a->outputs,  a->source, a->base,  a->step, a->taps,
                            a->tap_step, a->stride, a->shift, a->mode};
    ck_key_add_all(key, axis, sizeof axis / sizeof *axis);
  }
  ck_key_add_all(key, s->tensor.stride, 5);
  ck_key_add_all(key, d->dst.stride, 5);
  ck_key_add_all(key, d->phases, 3);
  ck_key_add_all(key, d->dst_step, 3);
}

typedef struct made {
  ck_dense_plan plan;
  ck_arrangement arrangement;
  ck_order order;
  int in_place;
} made;

ck_dense_plan ck_dense_make_plan(ck_dense *d, const ck_run *run) {
  const int arrangements = considered(d);
  if (d->sampler) /* what it stages follows from more than this */
    return cheapest_packing(d, arrangements, run);
  ck_memo_key key = {0};
  made m;
  ck_dense_add_to_key(&key, d, arrangements, run);
  if (!ck_memo_find(&key, &m, sizeof m)) {
    m.plan = cheapest_packing(d, arrangements, run);
    m.arrangement = d->arrangement;
    m.order = d->source.order;
    m.in_place = d->in_place;
    ck_memo_keep(&key, &m, sizeof m);
  }
  d->arrangement = m.arrangement;
  d->in_place = m.in_place;
  set_order(d, m.order, m.plan.tile_lanes);
  return m.plan;
}

_Static_assert(sizeof(made) <= CK_MEMO_BYTES, "a plan must fit its place");
