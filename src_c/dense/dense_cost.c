#include "dense_cost.h"

#include <math.h>
#include <stddef.h>

#include "dense_runs.h"
#include "multiply.h"

#define EACH_COST(X)                                                                                                   \
  X(issue, 4)                                                                                                          \
  X(latency, 4)                                                                                                        \
  X(strip, 12)                                                                                                         \
  X(strip_vector, 1)                                                                                                   \
  X(narrow, 0.25)                                                                                                      \
  X(plane, 100)                                                                                                        \
  X(plane_cut, 3)                                                                                                      \
  X(turn, 0.25)                                                                                                        \
  X(pack, 0.5)                                                                                                         \
  X(pack_some, 1.0)                                                                                                    \
  X(pick, 0.12)                                                                                                        \
  X(panel, 500)                                                                                                        \
  X(panel_kept, 0.8)                                                                                                   \
  X(picked, 1.25)                                                                                                      \
  X(patch, 150)                                                                                                        \
  X(patch_tap, 3)                                                                                                      \
  X(tap, 60)                                                                                                           \
  X(column, 250)                                                                                                       \
  X(stage_row, 8)                                                                                                      \
  X(stage, 0.15)                                                                                                       \
  X(stage_apart, 1.0)                                                                                                  \
  X(stage_turned, 0.35)                                                                                                \
  X(stage_bands, {0.4, 0.2})                                                                                           \
  X(stage_groups, {0.15, 0.5})                                                                                         \
  X(stage_strided, 0.4)                                                                                                \
  X(stage_second, 0.3)                                                                                                 \
  X(stage_run, 10)                                                                                                     \
  X(stage_sorted, 5)                                                                                                   \
  X(stage_alone, 4)                                                                                                    \
  X(drain_straight, 0.1)                                                                                               \
  X(drain, 0.15)                                                                                                       \
  X(drain_turned, 0.42)                                                                                                \
  X(drain_apart, 1.5)                                                                                                  \
  X(drain_joined, {0.65, 1.6})                                                                                         \
  X(drain_groups, {0.8, 0.5, 2.9})                                                                                     \
  X(drain_run, 10)                                                                                                     \
  X(drain_groups_run, 30)                                                                                              \
  X(level2, 0.015)                                                                                                     \
  X(level2_bands, 0.002)                                                                                               \
  X(level2_pixels, 0.08)                                                                                               \
  X(level2_met, 0.2)                                                                                                   \
  X(memory_pixels, 0.4)                                                                                                \
  X(level3, 0.08)                                                                                                      \
  X(memory, 0.2)                                                                                                       \
  X(accumulators, 12 * 1024)                                                                                           \
  X(kept, {0.5, 0.75, 0.5})                                                                                            \
  X(tile, 75)                                                                                                          \
  X(tile_weights, 40)                                                                                                  \
  X(output, 3)                                                                                                         \
  X(group, {270, 100})                                                                                                 \
  X(sheet, 115)                                                                                                        \
  X(sheet_row, {8, 12.5})                                                                                              \
  X(weight_pixel, 12)                                                                                                  \
  X(weight_stage, 0.3)                                                                                                 \
  X(weight_sums, 4)                                                                                                    \
  X(weight_swapped, 1.8)                                                                                               \
  X(weight_picked, 1.1)                                                                                                \
  X(line, 300)                                                                                                         \
  X(task, 2000)                                                                                                        \
  X(region, 10000)
#define VALUE(name, ...) .name = __VA_ARGS__,
#define COST(name, ...) {#name, offsetof(ck_costs, name), (int)(sizeof ck_cost.name / sizeof(double))},
#define AND_BYTES(name, ...) +sizeof ck_cost.name

ck_costs ck_cost = {EACH_COST(VALUE)};
int64_t ck_cost_changes;

static const struct {
  const char *name;
  size_t at;
  int count;
} costs[] = {EACH_COST(COST)};
enum { COSTS = sizeof costs / sizeof *costs };

_Static_assert(0 EACH_COST(AND_BYTES) == sizeof(ck_costs), "every cost must be among them");

const char *ck_cost_name(int index, int *count) {
  if (index >= COSTS)
    return NULL;
  *count = costs[index].count;
  return costs[index].name;
}

double ck_cost_at(int index, int i) { return ((double *)((char *)&ck_cost + costs[index].at))[i]; }

void ck_cost_set(int index, int i, double value) {
  ((double *)((char *)&ck_cost + costs[index].at))[i] = value;
  ck_cost_changes++;
}

double ck_region_cycles(const ck_run *run) { return run->threads > 1 ? ck_cost.region : 0; }

double ck_tile_cycles(const ck_kernels *kernels) { return 2 * ck_cost.tile / ck_fma_per_cycle(kernels); }
double ck_tile_weights_cycles(const ck_kernels *kernels) {
  return 2 * ck_cost.tile_weights / ck_fma_per_cycle(kernels);
}

/* One register tile over k products. */
static double strip_cycles(const ck_kernels *kernels, double height, double vectors, double k, double pieces) {
  double adds = height * vectors / ck_fma_per_cycle(kernels),
         issue = (height * vectors + height + vectors + 4) / ck_cost.issue;
  double each = adds > issue ? adds : issue;
  if (each < ck_cost.latency)
    each = ck_cost.latency;
  return k * each + pieces * (ck_cost.strip + ck_cost.strip_vector * height * vectors);
}

double ck_rows_cycles(const ck_kernels *kernels, double rows, double vectors, double k, double pieces) {
  double panels = fmax(1, ceil(rows / (double)kernels->max_height));
  return panels * strip_cycles(kernels, rows / panels, vectors, k, pieces);
}

/* Whether the rows of a register tile lie a multiple of 4096 bytes apart: lines of one set of level 1, which holds as
 * many as it has ways. */
static int rows_meet(const ck_dense *d, const ck_dense_plan *p) {
  const int axis = p->window.outputs[3] > 1 ? 2 : 1;
  const int64_t apart = d->source.axis[axis].step * d->source.tensor.stride[axis + 2];
  return d->in_place && d->arrangement == CK_BY_PIXEL && d->source.order == CK_INTERLEAVED && apart % 4096 == 0 &&
         ck_min(p->pixels, d->kernels->max_height) > p->level1 / 4096;
}

/* Between the first and the last of every row. */
static int64_t elements_in_place(const ck_dense *d, const ck_dense_plan *p) {
  const ck_axis *a = d->source.axis;
  const int64_t *o = p->window.outputs, *taps = p->window.taps;
  const int64_t row = (o[3] - 1) * a[2].step + (taps[2] - 1) * a[2].tap_step + 1;
  return p->window.channels * o[0] * ck_axis_extent(&a[0], o[1], taps[0]) * ck_axis_extent(&a[1], o[2], taps[1]) * row;
}

/* What a pass over the source of one k-block waits for, one for each tile. */
static double pass_cycles(const ck_dense *d, const ck_dense_plan *p) {
  if (d->sampler)
    return 0;
  if (rows_meet(d, p))
    return (double)(p->pixels * p->window.channels * d->kernels->real_size) * ck_cost.level2_met;
  const int64_t elements =
      d->in_place ? elements_in_place(d, p) : ck_window_elements(d->kernels, &d->source, &p->window);
  double bytes = (double)(elements * d->kernels->real_size);
  if (bytes < ck_cost.kept[0] * (double)p->level1)
    return 0;
  if (ck_dense_is_sequential(d))
    return bytes * ck_cost.level2_bands;
  if (d->in_place && d->source.order == CK_PLANES && d->arrangement == CK_BY_PIXEL)
    return bytes * ck_cost.level2_pixels;
  return bytes * (bytes < ck_cost.kept[1] * (double)p->level2 ? ck_cost.level2 : ck_cost.level3);
}

/* What the first pass waits for besides, where several taps read planes in place by pixel: lines of all channels in
 * turn are not fetched ahead. */
static double first_pass_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const int apart = d->in_place && d->source.order == CK_PLANES && d->arrangement == CK_BY_PIXEL;
  if (!p->far || !apart || ck_taps_of(p->window.taps) == 1)
    return 0;
  return (double)(elements_in_place(d, p) * d->kernels->real_size) * ck_cost.memory_pixels;
}

/* One tile by plane: `rows` of `vectors`, which share what they load for each of `across` tap columns or don't. Vectors
 * at any address cross the ends of cache lines, and then count twice. */
static double tile_cycles(const ck_kernels *kernels, int shared, double rows, double vectors, double down,
                          double across) {
  const double line = 1 + (double)(kernels->vector * kernels->real_size) / 64, adds = rows * down * vectors;
  const double loads = shared ? (rows + down - 1) * vectors * line + rows * down : down * (rows * vectors * line + 1);
  const double issue = (shared ? (rows + down - 1) * (vectors + 6) + rows * down : adds + down * 5) + adds;
  const double chains = rows * vectors < 2 * ck_cost.latency ? down * ck_cost.latency : 0;
  return across * fmax(fmax(adds, loads) / ck_fma_per_cycle(kernels), fmax(issue / ck_cost.issue, chains));
}

/* How a plane's outputs are cut into tiles: which rows share what they read, in so many lines of them. */
typedef struct tiling {
  int64_t rows, lines, height, vectors, strips, down;
  int shared;
} tiling;

static tiling tiling_of(const ck_dense *d, const ck_lane_runs *runs, const int64_t outputs[4]) {
  const ck_axis *a = &d->source.axis[1];
  const int64_t phases = a->stride ? ck_tapped_phases(a) : 1, step = a->stride ? a->stride / phases : a->step;
  const int64_t apart = a->tap_step / ck_max(1, step), registers = d->kernels->max_height > 6 ? 32 : 16;
  tiling t = {.rows = runs->axis == 3 ? ck_max(1, outputs[2]) : 1, .lines = 1, .down = ck_max(1, a->taps / phases)};
  t.shared = t.down > 1 && apart * step == a->tap_step && apart < t.rows;
  if (t.shared)
    t.lines = ck_max(1, apart);
  t.height = ck_min(ck_ceil_div(t.rows, t.lines), t.shared ? ck_min(t.down + 1, 6) : 4);
  t.vectors = ck_max(1, ck_ceil_div(runs->lanes, d->kernels->vector));
  t.strips = ck_ceil_div(t.vectors, ck_max(1, ck_min(4, (registers - 1) / (t.height + 1))));
  return t;
}

/* By plane: all planes of a block, for all phases of a task. Rows that are padding are passed over. */
static double plane_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const ck_axis *a = d->source.axis;
  const ck_lane_runs runs = ck_dense_lane_runs(d, p, d->in_place, p->window.outputs, p->window.taps);
  const tiling t = tiling_of(d, &runs, p->window.outputs);
  const double tiles = (double)ck_ceil_div(ck_ceil_div(t.rows, t.lines), t.height), lines = (double)t.lines;
  double k = (double)d->channels, taps[3], phases = (double)p->part_phases;
  for (int i = 0; i < 3; i++) {
    const int64_t tapped = a[i].stride ? ck_tapped_phases(&a[i]) : 1;
    taps[i] = (double)ck_max(1, a[i].taps / tapped);
    phases *= (double)ck_min(tapped, d->phases[i]) / (double)d->phases[i];
  }
  k *= taps[0];
  if (t.shared && p->taken >= 1 && a[1].source < a[1].outputs)
    k *= (double)a[1].source / (double)a[1].outputs;
  const double each = tile_cycles(d->kernels, t.shared, (double)t.rows / (lines * tiles),
                                  (double)t.vectors / (double)t.strips, taps[1], taps[2]);
  const double planes = (double)(runs.runs / t.rows) * phases;
  const double blocks = (double)ck_max(1, ck_reduction_count(&p->reduction));
  const int64_t *parts = p->reduction.parts; /* of channels, whose windows are alike, and of the kernel's axes */
  const double over = parts[1] * parts[2] * parts[3] > 1 ? ck_cost.plane_cut : 1;
  return over * planes * lines * (tiles * (double)t.strips * k * each + blocks * ck_cost.plane);
}

static double products(const ck_dense *d, const ck_dense_plan *p) {
  return (double)d->channels * (double)ck_taps_of(p->reduction.taps);
}

static int goes_straight(const ck_dense *d, const ck_dense_plan *p, const ck_lane_runs *runs) {
  return p->patching.most < 2 && (!ck_dense_by_plane(d) || ck_reduction_count(&p->reduction) == 1) &&
         ck_dense_goes_straight(d, runs, p->window.outputs);
}

static double multiply_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const ck_kernels *kernels = d->kernels;
  double k = products(d, p) * (double)p->part_phases / (double)p->phases; /* each tap is of one phase */
  double blocks = (double)(ck_max(1, ck_reduction_count(&p->reduction)) * p->part_phases);
  double tiles = (double)p->part_tiles, each = (double)d->lanes / (double)ck_max(1, p->tiles); /* lanes of a tile */
  if (ck_dense_by_plane(d))
    return plane_cycles(d, p);
  if (d->arrangement == CK_BY_CHANNEL) {
    const ck_lane_runs runs = ck_dense_lane_runs(d, p, d->in_place, p->window.outputs, p->window.taps);
    const int64_t together = goes_straight(d, p, &runs) ? 1 : runs.runs, most = kernels->lane_vectors[p->tile_lanes];
    const int64_t vectors = together * ck_ceil_div(runs.lanes, kernels->vector);
    const double calls = (double)(runs.runs / together), strips = (double)ck_ceil_div(vectors, most);
    return tiles * calls * strips * strip_cycles(kernels, each, (double)vectors / strips, k, blocks);
  }
  int64_t piece =
      ck_dense_is_sequential(d) ? p->kmax : ck_multiply_piece(kernels, p->kmax, p->tile_lanes * kernels->real_size, 1);
  double pieces = blocks * (double)ck_ceil_div(p->kmax, piece);
  if (d->arrangement == CK_BY_GROUP) /* each product loads what it multiplies */
    return tiles * (1 + 1 / (double)kernels->max_height) * ck_rows_cycles(kernels, (double)p->pixels, 1, k, pieces);
  const int64_t last = d->lanes - (p->tiles - 1) * p->tile_lanes;
  double vectors = (double)ck_ceil_div(d->lanes, kernels->vector);
  if (ck_dense_is_narrow(kernels, last) && ck_fma_per_cycle(kernels) < 2 && p->patching.most == 1)
    vectors -= ck_cost.narrow;
  vectors /= (double)ck_max(1, p->tiles);
  if (p->part_tiles < p->tiles) /* the first of several parts takes longest: its tiles are whole */
    vectors = (double)ck_ceil_div(p->tile_lanes, kernels->vector);
  const double patches = p->patching.mean, rows = (double)p->pixels / patches;
  const double picked = p->patching.most > 1 && p->tile_lanes <= kernels->vector ? ck_cost.picked : 1;
  return picked * tiles * patches * ck_rows_cycles(kernels, rows, vectors, k, pieces);
}

/* An element of every so many-th along the innermost axis, in runs of so many: by vectors, or one by one. */
static double strided_each(const ck_dense *d, int64_t step, int64_t run) {
  const int64_t fewest = step == 2 ? d->kernels->vector / 2 + 1 : d->kernels->vector;
  if (d->source.tensor.stride[4] != d->kernels->real_size || (step > 1 && (step > 4 || run < fewest)))
    return ck_cost.stage_apart;
  return step == 1 ? ck_cost.stage : step == 2 ? ck_cost.stage_second : ck_cost.stage_strided;
}

/* Whether columns of one residue of the stride lie together in the window's rows. */
static int is_sorted(const ck_dense *d, const ck_dense_plan *p) {
  const ck_axis *x = &d->source.axis[2];
  return x->step > 1 && ck_axis_step(x, ck_max(1, p->window.outputs[3]), ck_max(1, p->window.taps[2])) == 1;
}

/* Whether channels, neighbours in memory, are transposed into planes: more than half a vector of them. */
static int turns_channels(const ck_dense *d, const ck_dense_plan *p) {
  const int64_t *stride = d->source.tensor.stride, item = d->kernels->real_size;
  return stride[1] == item && stride[4] != item && 2 * p->window.channels > d->kernels->vector;
}

/* Rows of a window of planes. By channel columns of one residue of the stride are a run each. */
static double staged_rows(const ck_dense *d, const ck_dense_plan *p, double rows, double elements) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t outputs = ck_max(1, p->window.outputs[3]), taps = ck_max(1, p->window.taps[2]);
  if (turns_channels(d, p))
    return elements * ck_cost.stage_turned + rows / (double)p->window.channels * ck_cost.stage_run;
  const int sorted = is_sorted(d, p);
  const int64_t period = x->step / ck_max(1, ck_gcd(x->step, x->tap_step)), residues = ck_min(period, taps);
  const int by_run = sorted && x->adjacent;
  const int vectors = by_run && outputs < d->kernels->vector && 2 * residues >= x->step; /* of several rows at once */
  const double each = strided_each(d, sorted ? x->step : 1, vectors ? d->kernels->vector : outputs);
  const double run = vectors && x->step <= 4            ? ck_cost.stage_sorted
                     : 2 * outputs > d->kernels->vector ? ck_cost.stage_run
                                                        : ck_cost.stage_row; /* a few take no choice */
  return elements * each + rows * (by_run ? (double)residues * run : ck_cost.stage_row);
}

/* Columns: a run for each row, tap and channel; and each tap has tables of its own. */
static double staged_columns(const ck_dense *d, const ck_dense_plan *p, double elements) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t *o = p->window.outputs, taps = ck_taps_of(p->window.taps);
  const double runs = (double)(p->window.channels * taps) * (double)(o[0] * o[1] * o[2]);
  const double each = strided_each(d, x->step, o[3]);
  const double tables = ck_cost.column + ck_cost.stage_row * (double)(o[1] + o[2] + o[3]);
  return elements * each + runs * ck_cost.stage_run + (double)taps * tables;
}

/* An element of groups on the lanes: as it lies, or transposed, by vectors where neighbours are. */
static double staged_group(const ck_dense *d, const ck_dense_plan *p) {
  const int turned = d->source.tensor.stride[1] != d->kernels->real_size;
  return turned && is_sorted(d, p) ? ck_cost.stage_apart : ck_cost.stage_groups[turned];
}

/* Whether the rows of an image that so many outputs of one tap read follow one another in memory. */
static int rows_follow(const ck_source *s, const int64_t outputs[4]) {
  const int64_t *stride = s->tensor.stride;
  int64_t row = outputs[3] * s->axis[2].step * stride[4];
  int follow = 1;
  for (int i = 1; i >= 0; row *= outputs[i + 1], i--)
    follow &= outputs[i + 1] == 1 || s->axis[i].step * stride[i + 2] == row;
  return follow;
}

/* The window of one k-block. */
static double stage_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size;
  double elements = (double)ck_window_elements(d->kernels, s, &p->window), rows = (double)p->window.outputs[0];
  for (int i = 0; i < 2; i++)
    rows *= (double)ck_axis_extent(&s->axis[i], ck_max(1, p->window.outputs[i + 1]), ck_max(1, p->window.taps[i]));
  int64_t x = ck_axis_extent(&s->axis[2], ck_max(1, p->window.outputs[3]), ck_max(1, p->window.taps[2]));
  int apart = s->tensor.stride[4] != item || (s->axis[2].adjacent && s->axis[2].step > 1);
  double with_slope = s->act_y.data ? 2.5 : 1;
  if (ck_dense_by_plane(d)) {
    const int64_t step = s->axis[2].step, runs = step > 1 ? ck_min(step, s->axis[2].taps) : 1;
    const double each = turns_channels(d, p)          ? ck_cost.stage_turned
                        : s->tensor.stride[4] != item ? ck_cost.stage_alone
                                                      : strided_each(d, step, ck_max(1, p->window.outputs[3]));
    return with_slope * (double)p->window.channels * rows * ((double)x * each + (double)runs * ck_cost.stage_run);
  }
  switch (s->order) {
  case CK_COLUMNS:
    return with_slope * staged_columns(d, p, elements);
  case CK_BANDS: /* rows that follow one another are one run */
    apart &= s->axis[2].step != 2 || s->tensor.stride[4] != item;
    if (rows_follow(s, p->window.outputs))
      rows = (double)p->window.outputs[0];
    return elements * (apart ? ck_cost.stage_apart : ck_cost.stage_bands[d->arrangement == CK_BY_CHANNEL]) +
           rows * (double)p->window.channels * ck_cost.stage_row;
  case CK_INTERLEAVED: /* a run of channels at each position */
    return with_slope * (elements * ck_cost.stage + rows * (double)x * ck_cost.stage_row / 2);
  case CK_LANES:
    return with_slope * (elements * staged_group(d, p) + rows * (double)p->window.channels * ck_cost.stage_row);
  default:
    return with_slope * staged_rows(d, p, rows * (double)p->window.channels, elements);
  }
}

/* Elements that take as long as a run of so many outputs that is transposed: whole vectors, but of up to four outputs,
 * which are interleaved (0.3 of the time of 16, Zen 4). Rows that follow one another are one run. */
static double turned_run(const ck_dense *d, const ck_dense_plan *p, int64_t outputs) {
  const int64_t item = d->kernels->real_size, *size = p->window.outputs, few = 4;
  if (d->dst.stride[4] != item)
    return (double)outputs;
  if (d->dst.stride[3] == d->source.axis[2].outputs * item) {
    const double run = fmax(1, (double)(size[1] * size[2] * size[3]) / p->patching.mean);
    return (double)outputs * ceil(run / (double)d->kernels->vector) * (double)d->kernels->vector / run;
  }
  return outputs == 1 ? 3 : outputs <= few ? 6 : (double)ck_round_up(outputs, d->kernels->vector);
}

static double drain_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const ck_lane_runs lane_runs = ck_dense_lane_runs(d, p, d->in_place, p->window.outputs, p->window.taps);
  if (goes_straight(d, p, &lane_runs))
    return (double)(p->part_tiles * p->tile_lanes) * (double)p->pixels * ck_cost.drain_straight;
  const int64_t item = d->kernels->real_size, *size = p->window.outputs;
  double elements = (double)p->pixels * (double)p->part_phases, rows = (double)(size[0] * size[1] * size[2]);
  const double along = d->arrangement == CK_BY_PIXEL ? p->patching.along[2] : 1; /* runs of a row */
  const int64_t run_of = ck_max(1, (int64_t)((double)size[3] / along));
  int beside = d->dst.stride[4] == item && d->phases[2] == 1 && !d->tapped && !d->fold;
  int joined = d->dst.stride[4] == item && !d->tapped;
  int by_channel = d->arrangement == CK_BY_CHANNEL, by_group = d->arrangement == CK_BY_GROUP;
  int channels = d->dst.stride[1] == item && (by_group ? d->lanes == 1 : d->lanes > 1 && !by_channel);
  double each = ck_cost.drain_turned, lanes = (double)(by_group ? d->kernels->vector : ck_min(d->lanes, p->tile_lanes));
  double run = by_group ? ck_cost.drain_groups_run : ck_cost.drain_run * (by_channel ? lanes : 2);
  if (d->fold || (by_channel && !joined))
    each = ck_cost.drain_apart * (ck_dense_by_plane(d) ? 2 : 1);
  else if ((by_channel && beside) || channels)
    each = ck_cost.drain;
  else if (by_channel)
    each = ck_cost.drain_joined[d->phases[2] > 4];
  else if (by_group)
    each = ck_cost.drain_groups[ck_dense_joins_phases(d, p) ? 1 : ck_min(d->phases[2], 3) - 1];
  else if (beside && size[3] > 0)
    each *= turned_run(d, p, run_of) / (double)run_of;
  double runs = rows * (double)p->part_phases * along;
  double bytes = elements * (double)ck_round_up((int64_t)lanes, by_channel ? 1 : d->kernels->vector) * (double)item;
  return (double)p->part_tiles *
         (elements * lanes * each + runs * run + (bytes > ck_cost.accumulators ? 2 * bytes * ck_cost.level2 : 0));
}

/* Weights are turned again for each 4 rows, or 2, or the last one; but they come from memory once. */
static double unpacked_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const int64_t rows = p->pixels, turns = rows / 4 + rows % 4 / 2 + rows % 2, lanes = d->kernels->turned_lanes;
  const double turned = (double)(turns * lanes) * ck_cost.turn;
  const double each = fmax(turned + (double)rows, (double)turns * ck_cost.latency);
  const double memory = (double)(lanes * d->kernels->real_size) * ck_cost.level3;
  const double begin = (double)(ck_reduction_count(&p->reduction) * turns) * 4 * ck_cost.strip;
  const double strips = (double)ck_ceil_div(d->lanes, lanes) / (double)ck_max(1, p->tiles);
  const double tile = strips * (fmax(products(d, p) * each, products(d, p) * memory) + begin) + ck_cost.panel;
  return ck_cost.task + (double)p->part_tiles * tile + drain_cycles(d, p);
}

/* Weights that come from beyond level 2, to be packed or as they lie ready: of all taps, since those that are not taken
 * share their lines. */
static double waiting_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const double bytes = products(d, p) * (double)d->kernels->real_size;
  if (bytes * (double)d->lanes < ck_cost.kept[2] * (double)p->level2)
    return 0;
  return bytes * (double)(p->part_tiles * p->tile_lanes) * ck_cost.level3;
}

/* A product's weights of a tile, at so many cycles an element. */
static double packing(const ck_dense *d, const ck_dense_plan *p, double each) {
  return each * (double)(ck_dense_by_plane(d) ? 1 : ck_round_up(p->tile_lanes, d->kernels->vector));
}

/* Of some of a volume's taps, which are no run of memory, weights are taken one by one; unless lanes are as close as
 * those that registers take apart. */
static double packed_element(const ck_dense *d, const ck_dense_plan *p) {
  const int some = p->taken < 1, apart = d->w_lane > 4 * d->kernels->real_size && d->source.axis[0].taps > 1;
  if (d->prepared)
    return some ? ck_cost.pick : 0;
  const double full = (double)ck_min(d->lanes, p->tile_lanes) / (double)ck_round_up(p->tile_lanes, d->kernels->vector);
  return some && apart ? fmax(ck_cost.pack, ck_cost.pack_some * full) : ck_cost.pack;
}

double ck_dense_pack_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const double products_each = products(d, p) * packing(d, p, ck_cost.pack);
  return (double)(p->outer * p->tiles) * (products_each + ck_cost.panel) + ck_cost.task;
}

/* What patches of a block take besides their products: tables of their taps, and to begin a tile. */
static double patch_cycles(const ck_dense *d, const ck_dense_plan *p) {
  if (p->patching.most == 1)
    return 0;
  const double blocks = (double)ck_max(1, ck_reduction_count(&p->reduction));
  const double taps = p->patching.taken * (double)ck_taps_of(p->window.taps);
  const double panel = p->patching.taken * products(d, p) * packing(d, p, (double)d->kernels->real_size);
  const double each = blocks * (ck_cost.patch + ck_cost.patch_tap * taps) + ck_cost.panel / 2;
  return (double)p->part_tiles * p->patching.mean * (each + panel * ck_cost.level2);
}

double ck_dense_shared_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const int64_t *parts = p->grid.parts, *size = p->window.outputs;
  if (d->dst.stride[4] != d->kernels->real_size || d->arrangement == CK_BY_GROUP || parts[1] * parts[2] * parts[3] == 1)
    return 0;
  const int64_t ends = size[0] * (parts[3] > 1 ? size[1] * size[2] : 1); /* of each row, or of a run of them */
  return (double)ck_min(d->lanes, p->part_tiles * p->tile_lanes) * (double)(ends * p->each) * ck_cost.line;
}

double ck_dense_last_cycles(const ck_dense *d, const ck_dense_plan *p) {
  if (!d->in_place || d->arrangement != CK_BY_CHANNEL)
    return 0;
  const ck_lane_runs runs = ck_dense_lane_runs(d, p, 1, p->window.outputs, p->window.taps);
  int64_t left = 0; /* elements of a plane after the last that is read */
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &d->source.axis[i];
    left += (a->source - 1 - ck_axis_at(a, a->outputs - 1, a->taps - 1)) * d->source.tensor.stride[i + 2];
  }
  const int64_t more = runs.row - runs.lanes + (ck_dense_by_plane(d) ? d->kernels->vector : 0);
  if (more * d->kernels->real_size <= left)
    return 0;
  return (double)ck_max(1, ck_reduction_count(&p->reduction)) * stage_cycles(d, p);
}

double ck_dense_task_cycles(const ck_dense *d, const ck_dense_plan *p) {
  if (d->arrangement == CK_UNPACKED)
    return unpacked_cycles(d, p);
  double k = products(d, p) * (double)p->part_phases / (double)p->phases;
  const double pack = k * (double)p->part_tiles * packing(d, p, packed_element(d, p));
  double blocks = (double)ck_max(1, ck_reduction_count(&p->reduction));
  double stage = d->in_place || d->sampler ? 0 : blocks * stage_cycles(d, p);
  double passes = blocks * ((double)p->part_tiles * pass_cycles(d, p) + first_pass_cycles(d, p));
  const int by_plane = ck_dense_by_plane(d), by_group = d->arrangement == CK_BY_GROUP;
  double begin = by_plane || by_group ? ck_cost.group[by_group] : ck_cost.panel;
  begin *= blocks * (double)p->part_tiles;
  if (p->sorted && p->taken < 1) /* rows are sorted, and picked, anew */
    begin += blocks * (double)ck_taps_of(p->window.taps) * ck_cost.tap / 2;
  /* Tables of a single k-block serve all groups of a task. */
  double tables = by_plane || by_group ? (double)p->pixels * ck_cost.output : 0;
  tables += by_group ? k * ck_cost.tap * (blocks > 1 ? (double)p->each : 1) : 0;
  double group = p->patching.taken * multiply_cycles(d, p) + p->taken * pack + patch_cycles(d, p) + begin + passes +
                 stage + drain_cycles(d, p);
  group += waiting_cycles(d, p);
  /* What the first of several turns has laid ready is there for the others. */
  const int kept = !d->fold && p->part_tiles == 1 && blocks <= 1 && p->each == 1 && p->patching.most == 1;
  const double again = kept ? group - p->taken * pack - (1 - ck_cost.panel_kept) * begin : group;
  return (double)p->each * (group + (double)(p->turns - 1) * again) + ck_cost.task + tables;
}
