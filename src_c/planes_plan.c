#include "planes_plan.h"
#include "dense_block.h"

enum {
  STRIP_BYTES = 24 * 1024,   /* of staged rows: they stay in level 1 while they are walked through */
  VOLUME_BYTES = 128 * 1024, /* of staged planes, through one of which a kernel walks at a time */
  LINES_BYTES = 32 * 1024,   /* of sums under way */
  PANEL_BYTES = 16 * 1024,   /* of weights packed together */
  ROW_ELEMENTS = 4096,
  TASKS_A_THREAD = 6,
  FEWEST_ROWS = 8,
  MOST_GROUPS = 64,
};

int64_t ck_planes_phases(const ck_dense *d, int axis) {
  const ck_axis *a = &d->source.axis[axis];
  return a->stride ? ck_max(1, ck_min(a->stride, d->dst_size[axis])) : 1;
}

int64_t ck_planes_classes(const ck_axis *a) { return a->stride ? ck_tapped_phases(a) : 1; }

ck_tap_list ck_class_taps(const ck_axis *a, int64_t i) {
  int64_t step = ck_planes_classes(a);
  return (ck_tap_list){.first = i, .step = step, .count = (a->taps - 1 - i) / step + 1};
}

ck_tap_list ck_phase_taps(const ck_axis *a, int64_t phase) {
  for (int64_t i = 0; i < ck_planes_classes(a); i++)
    if (ck_tap_phase(a, i) == phase)
      return ck_class_taps(a, i);
  return (ck_tap_list){.step = 1};
}

int64_t ck_taps_before(const ck_axis *a, int64_t i) {
  int64_t classes = ck_planes_classes(a);
  return i * (a->taps / classes) + ck_min(i, a->taps % classes);
}

void ck_planes_place_task(const ck_planes_plan *p, ck_arena *arena, ck_planes_task *t) {
  const ck_dense *d = p->d;
  const int64_t item = d->kernels->real_size, sums = p->lines * p->ld * item;
  ck_planes_place(&t->block, d->kernels, &d->source, &p->size, arena);
  t->w_off = ck_take(arena, p->taps * (int64_t)sizeof *t->w_off);
  t->xo = ck_take(arena, d->source.axis[2].taps * (int64_t)sizeof *t->xo);
  t->panels = ck_take(arena, p->packed * d->lanes * d->channels * p->taps * item);
  for (int i = 0; i < 3; i++)
    t->sum[i] = ck_take(arena, p->chained ? sums : 0);
  t->out = ck_take(arena, p->direct ? 0 : p->classes_x * sums);
  t->blank = ck_take(arena, d->source.axis[0].stride ? p->size.columns * p->phases_x * item : 0);
  t->step = ck_take(arena, CK_MOST_STEPS * (int64_t)sizeof *t->step);
}

static void set_block(ck_planes_plan *p, const int64_t block[4], int64_t each) {
  const ck_dense *d = p->d;
  const int64_t item = d->kernels->real_size;
  p->grid = ck_grid_make(p->grid.size, block);
  p->each = each;
  p->parts = ck_ceil_div(d->groups, each);
  p->packed = ck_max(1, ck_min(each, PANEL_BYTES / item / (d->lanes * d->channels * p->taps)));
  p->size = (ck_planes_size){.channels = d->channels,
                             .planes = ck_slots_make(&d->source.axis[0], 0, ck_grid_largest(&p->grid, 1)).slots,
                             .rows = ck_slots_make(&d->source.axis[1], 0, ck_grid_largest(&p->grid, 2)).slots,
                             .columns = ck_grid_largest(&p->grid, 3),
                             .mask = d->source.axis[2].mode == CK_ZEROS};
  p->ld = ck_round_up(p->size.columns, d->kernels->vector);
  p->lines = ck_grid_largest(&p->grid, 2);
  int64_t kept = (p->direct ? 0 : p->classes_x) + (p->chained ? 3 : 0);
  if (kept > 0)
    p->lines = ck_max(1, ck_min(p->lines, LINES_BYTES / (kept * p->ld * item)));
  p->tasks = p->parts * ck_grid_count(&p->grid);
  ck_arena count = {0};
  ck_planes_task task;
  ck_planes_place_task(p, &count, &task);
  p->bytes = count.used;
}

/* As many outputs of an axis as `slots` slots hold, but enough that not most of them are read by two blocks. */
static int64_t fitting(const ck_axis *a, int64_t slots) {
  int64_t reach = ck_slots_make(a, 0, 1).slots - 1, fit = (slots - reach - 1) / a->step + 1;
  return ck_max(1, ck_min(a->outputs, ck_max(fit, 3 * reach / a->step)));
}

static void choose_block(ck_planes_plan *p, int threads) {
  const ck_dense *d = p->d;
  const ck_kernels *k = d->kernels;
  const ck_axis *a = d->source.axis;
  const int64_t volume = (a[0].taps > 1 ? VOLUME_BYTES : STRIP_BYTES) / k->real_size;
  int64_t block[4] = {1, 1, 1, a[2].outputs}, fewest = ck_max(1, ROW_ELEMENTS / p->phases_x);
  while (block[3] > 1 && (block[3] > fewest || ck_planes_pitch(k, &a[2], block[3]) > ROW_ELEMENTS))
    block[3] = ck_ceil_div(block[3], 2);
  int64_t row = d->channels * ck_planes_pitch(k, &a[2], block[3]);
  block[2] = fitting(&a[1], volume / (row * ck_slots_make(&a[0], 0, 1).slots));
  if (a[0].taps > 1)
    block[1] = fitting(&a[0], volume / (row * ck_slots_make(&a[1], 0, block[2]).slots));
  set_block(p, block, 1);
  while (p->bytes > CK_THREAD_BYTES && block[1] * block[2] * block[3] > 1) {
    int longest = block[1] > 1 ? 1 : block[2] > 1 && block[2] * 8 >= block[3] ? 2 : 3;
    block[longest] = ck_ceil_div(block[longest], 2);
    set_block(p, block, 1);
  }
  /* Enough tasks for all threads, and several groups in one for the sake of its tables. */
  int64_t wanted = threads > 1 ? TASKS_A_THREAD * threads : 1, blocks = ck_grid_count(&p->grid);
  while (d->groups * blocks < wanted && block[2] >= 2 * FEWEST_ROWS) {
    block[2] = ck_ceil_div(block[2], 2);
    set_block(p, block, 1);
    blocks = ck_grid_count(&p->grid);
  }
  set_block(p, block, ck_max(1, ck_min(MOST_GROUPS, d->groups * blocks / wanted)));
}

/* ---------------------------------------------------------------- cost */

/* In cycles, fitted to timings as those of dense_cost.c are, which they are compared with. */
static const struct {
  double issue; /* instructions a cycle */
  double row;   /* a row of outputs in a strip of vectors, and a vector of it */
  double row_vector;
  double strip;     /* a strip */
  double stage_row; /* a run of elements that is staged, and an element of it: beside each other, every second, apart */
  double stage;
  double stage_second;
  double stage_apart;
  double weight; /* a weight that is packed */
  double join;   /* an element that goes from scratch to the output: beside, of two phases, apart */
  double join_second;
  double join_apart;
  double step; /* a step, a channel, a group, a task */
  double channel;
  double group;
  double task;
} cost = {.issue = 4.5,
          .row = 8,
          .row_vector = 1.5,
          .strip = 25,
          .stage_row = 6,
          .stage = 0.1,
          .stage_second = 0.25,
          .stage_apart = 1.0,
          .weight = 2,
          .join = 0.15,
          .join_second = 0.25,
          .join_apart = 1.2,
          .step = 30,
          .channel = 40,
          .group = 60,
          .task = 2000};

/* One plane of `rows` outputs a column. */
static double plane_cycles(const ck_kernels *k, double taps_y, double taps_x, double shared, double rows,
                           double columns) {
  double registers = k->vector * k->real_size == 64 || k->isa == CK_NEON ? 32 : 16;
  double sums = taps_y / shared > 7 ? 6 : shared > 2 ? 1 : taps_y / shared + 0.5, vectors = columns / k->vector;
  double most = registers / (sums + 1.0), strips = 1;
  sums = sums < 1 ? 1 : (double)(int)sums;
  most = most > 4 ? 4 : most < 1 ? 1 : (double)(int)most;
  vectors = (double)ck_ceil_div((int64_t)columns, k->vector);
  strips = (double)ck_ceil_div((int64_t)vectors, (int64_t)most);
  vectors /= strips;
  double adds = taps_y * vectors / 2, issue = (taps_y * (vectors + 1) + shared * (vectors + 5)) / cost.issue;
  double each = adds > issue ? adds : issue;
  return strips * (cost.strip + rows * (taps_x * each + cost.row + cost.row_vector * vectors));
}

static double stage_cycles(const ck_planes_plan *p) {
  const ck_dense *d = p->d;
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size, step = s->tensor.stride[4] * s->axis[2].step;
  double rows = (double)(ck_min(p->size.planes, s->axis[0].source) * ck_min(p->size.rows, s->axis[1].source));
  double elements = (double)ck_planes_pitch(d->kernels, &s->axis[2], p->size.columns);
  double each = step == item ? cost.stage : step == 2 * item ? cost.stage_second : cost.stage_apart;
  double runs = (double)ck_min(s->axis[2].step, s->axis[2].taps);
  return (double)d->channels * rows * (runs * cost.stage_row + elements * each) * (s->act_y.data ? 2.5 : 1);
}

static double lane_cycles(const ck_planes_plan *p) {
  const ck_dense *d = p->d;
  const ck_axis *a = d->source.axis;
  const int64_t item = d->kernels->real_size;
  double ys = (double)ck_planes_classes(&a[1]), xs = (double)ck_planes_classes(&a[2]);
  double zs = (double)ck_planes_classes(&a[0]), z_taps = (double)a[0].taps / zs;
  double z_outputs = (double)ck_grid_largest(&p->grid, 1), rows = (double)ck_grid_largest(&p->grid, 2);
  double columns = (double)p->size.columns, shared = (double)ck_min(a[1].step, a[1].taps);
  double plane = plane_cycles(d->kernels, (double)a[1].taps / ys, (double)a[2].taps / xs, shared, rows, columns);
  double planes = z_outputs * zs * z_taps * ys * xs * (double)d->channels;
  double cycles = planes * (plane + cost.step * (double)ck_ceil_div((int64_t)rows, p->lines));
  if (!p->direct) {
    double elements = z_outputs * (double)(ck_planes_phases(d, 0) * ck_planes_phases(d, 1)) * rows * columns;
    double each = d->dst.stride[4] != item || p->phases_x > 2 ? cost.join_apart
                  : p->phases_x == 2                          ? cost.join_second
                                                              : cost.join;
    cycles += elements * (double)p->phases_x * each;
  }
  return cycles + (double)(d->channels * p->taps) * cost.weight + cost.channel;
}

static double task_cycles(const ck_planes_plan *p) {
  return cost.task + (double)p->each * (cost.group + stage_cycles(p) + (double)p->d->lanes * lane_cycles(p));
}

/* ---------------------------------------------------------------- plan */

static ck_planes_plan fresh_plan(const ck_dense *d, int threads) {
  const ck_axis *a = d->source.axis;
  const int64_t taps[3] = {a[0].taps, a[1].taps, a[2].taps};
  ck_planes_plan p = {.d = d, .phases_x = ck_planes_phases(d, 2), .taps = taps[0] * taps[1] * taps[2]};
  p.reduction = ck_reduction_make(d->channels, taps, ck_kblock_cap(d->kernels));
  p.classes_x = ck_planes_classes(&a[2]);
  p.direct = p.phases_x == 1 && d->dst.stride[4] == d->kernels->real_size && ck_only_bounds(d->activation);
  p.chained = d->channels * taps[0] > 1 || ck_reduction_count(&p.reduction) > 1;
  p.grid.size[0] = d->n;
  for (int i = 0; i < 3; i++)
    p.grid.size[i + 1] = a[i].outputs;
  choose_block(&p, threads);
  p.cycles = (double)ck_ceil_div(p.tasks, threads) * task_cycles(&p);
  return p;
}

ck_planes_plan ck_planes_make_plan(const ck_dense *d, int threads) {
  ck_memo_key key = {0};
  int found;
  ck_dense_add_to_key(&key, d, 1 << CK_BY_PLANE, threads);
  ck_key_add_all(&key, d->dst_size, 3);
  ck_key_add(&key, d->activation);
  ck_planes_plan *made = ck_memo(&key, &found);
  if (!found)
    *made = fresh_plan(d, threads);
  ck_planes_plan plan = *made;
  plan.d = d;
  return plan;
}

_Static_assert(sizeof(ck_planes_plan) <= CK_MEMO_BYTES, "a plan must fit its place");
