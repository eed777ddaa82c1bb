/* Sums over channels and affine maps of them, for (n, c, l) arrays of which values or channels are adjacent.
 *
 * Bits are a matter of the shape alone.  Where values are adjacent, a channel's value i of an image counts in part
 * i % 16, on and on from image to image, and halves are added to halves at the end, or fewer than 16 values in their
 * order, as if each were a channel of its own; sums of cuts in theirs, as if each cut were.  Where channels are, sums
 * are of as many chunks of rows as row_chunks says, which are added up in their order. */
#include "channels.h"

#include <string.h>

#include "base/dispatch.h"
#include "base/geometry.h"

enum { PARTS = CK_SUM_PARTS };

/* TASK: values of a task, about. CHANNELS and LANE_GROUPS: channels, or groups of 16 of them, that a task sums at most;
 * their parts are on its stack. ROWS: how many a group adds before the next one reads them. CHUNK_BYTES: of sums. */
enum { TASK = 1 << 15, CHANNELS = 16, LANE_GROUPS = 16, ROWS = 64, CHUNK_BYTES = 1 << 20 };

typedef struct channel_call {
  const ck_channels *call;
  int64_t each;           /* channels, or rows, of a task */
  int64_t blocks, chunks; /* of channels, and of rows */
} channel_call;

static char *at(const ck_strided *array, int64_t n, int64_t c, int64_t l) {
  return array->data ? (char *)array->data + n * array->stride[0] + c * array->stride[1] + l * array->stride[2] : NULL;
}

static void set_numbers(const ck_channels *call, int64_t c, const void **to) {
  for (int k = 0; k < CK_CHANNEL_NUMBERS; k++)
    to[k] = call->numbers[k] ? (const char *)call->numbers[k] + c * call->kernels->real_size : NULL;
}

/* Whether a gradient comes through an activation. */
static int is_sloped(const ck_channels *call) { return call->g.data && call->activation != CK_IDENTITY; }

static ck_bounds slope_of(const ck_channels *call) { return ck_slope_of(call->activation, call->act_a, call->act_b); }

/* ---------------------------------------------------------------- sums, values adjacent */

/* The sum of a channel's parts, of which fewer than all hold a value each: the last ones. */
static double joined(double *parts, int64_t values) {
  if (values < PARTS) {
    double sum = 0;
    for (int64_t i = PARTS - values; i < PARTS; i++)
      sum += parts[i];
    return sum;
  }
  for (int half = PARTS / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++)
      parts[i] += parts[i + half];
  return parts[0];
}

/* Runs of less than a group, each after a group that does not count. */
static void sum_short(const ck_kernels *k, ck_channel_sums sums) {
  char x[2 * PARTS * sizeof(double)] = {0}, g[2 * PARTS * sizeof(double)] = {0};
  const size_t bytes = (size_t)(sums.rest * k->real_size), end = (size_t)(PARTS * k->real_size);
  for (ck_channel_sums one = sums; sums.runs > 0; sums.runs--) {
    memcpy(x + end, sums.x, bytes);
    if (sums.g)
      memcpy(g + end, sums.g, bytes);
    one.runs = 1;
    one.x = x + end;
    one.g = sums.g ? g + end : NULL;
    k->channel_sums(&one);
    sums.x += sums.x_run;
    sums.g = sums.g ? sums.g + sums.g_run : NULL;
    one.sums += 2 * PARTS;
    for (int i = 0; i < CK_CHANNEL_NUMBERS; i++)
      one.numbers[i] = one.numbers[i] ? (const char *)one.numbers[i] + k->real_size : NULL;
  }
}

/* Steps of so many values between two questions whether to stop: one takes as long as a plane of 4x4, of 16 channels,
 * does. */
static int64_t steps_between(int64_t values) { return ck_max(1, TASK / ck_max(1, values)); }

int64_t ck_channels_together(const ck_channels *call) {
  return ck_max(1, ck_min(ck_min(CHANNELS, TASK / (call->n * call->l)), call->c));
}

/* One cut of all images, image by image, for memory is read in its order then; but of planes of one group many images
 * at a time, channel by channel, whose sums stay in registers. */
static void sum_cut(const ck_channels *call, ck_worker *worker, int64_t first, int64_t count, int64_t cut) {
  const int64_t length = call->l / call->cuts;
  double parts[CHANNELS][2][PARTS] = {{{0}}}, *to = call->sums + 2 * first;
  ck_channel_sums sums = {
      .rest = length % PARTS, .runs = count, .sums = parts[0][0], .sloped = is_sloped(call), .slope = slope_of(call)};
  const int64_t images = length == PARTS ? TASK / PARTS : 1, step = PARTS * call->kernels->real_size;
  set_numbers(call, first, sums.numbers);
  sums.x_step = images > 1 ? call->x.stride[0] : step;
  sums.g_step = images > 1 ? call->g.stride[0] : step;
  sums.x_run = call->x.stride[1];
  sums.g_run = call->g.stride[1];
  const int64_t each = images * steps_between(images * count * length);
  for (int64_t n = 0; n < call->n && !ck_stopped_at(worker, n, each); n += images) {
    sums.groups = length / PARTS * ck_min(images, call->n - n);
    sums.x = at(&call->x, n, first, cut * length);
    sums.g = at(&call->g, n, first, cut * length);
    if (sums.groups)
      call->kernels->channel_sums(&sums);
    else
      sum_short(call->kernels, sums);
  }
  for (int64_t i = 0; i < 2 * count; i++)
    to[i] = (cut ? to[i] : 0) + joined(parts[i / 2][i % 2], length);
}

void ck_channels_sum(const ck_channels *call, ck_worker *worker, int64_t first, int64_t count) {
  for (int64_t cut = 0; cut < call->cuts && !ck_stopped_at(worker, cut, 1); cut++)
    sum_cut(call, worker, first, count, cut);
}

static void sum_channels(ck_worker *worker, void *context, int64_t index) {
  const channel_call *p = context;
  const int64_t first = index * p->each;
  ck_channels_sum(p->call, worker, first, ck_min(p->each, p->call->c - first));
}

/* ---------------------------------------------------------------- sums, channels adjacent */

/* Rows, one for each (n, l): about TASK values a chunk, and at most CHUNK_BYTES of sums. */
static int64_t row_chunks(const ck_channels *call) {
  int64_t rows = call->n * call->l, most = CHUNK_BYTES / (call->c * 2 * (int64_t)sizeof(double));
  return ck_max(1, ck_min(ck_min(rows * call->c / TASK, most), rows));
}

/* Of rows first..end-1, as many as go on in even steps. */
static int64_t even_rows(const ck_channels *call, int64_t first, int64_t end) {
  return call->l == 1 ? end - first : ck_min(end - first, call->l - first % call->l);
}

/* The last 16 lanes overlap those before, which are then summed twice. */
static void sum_rows(ck_worker *worker, void *context, int64_t index) {
  const channel_call *p = context;
  const ck_channels *call = p->call;
  const int axis = call->l == 1 ? 0 : 2;
  const int64_t chunk = index / p->blocks, c = index % p->blocks * LANE_GROUPS * PARTS, rows = call->n * call->l;
  const int64_t groups = ck_min(LANE_GROUPS, ck_ceil_div(call->c - c, PARTS)), end = rows * (chunk + 1) / p->chunks;
  double parts[LANE_GROUPS][2 * PARTS] = {{0}}, *to = (double *)call->run.workspace + chunk * 2 * call->c;
  int64_t lane[LANE_GROUPS], next;
  for (int64_t i = 0; i < groups; i++)
    lane[i] = ck_min(c + i * PARTS, call->c - PARTS);
  for (int64_t r = rows * chunk / p->chunks; r < end && !ck_stopped(worker); r = next) {
    next = r + ck_min(ROWS, even_rows(call, r, end));
    for (int64_t i = 0; i < groups; i++) {
      ck_channel_sums sums = {.groups = next - r,
                              .runs = 1,
                              .lanes = 1,
                              .sums = parts[i],
                              .sloped = is_sloped(call),
                              .slope = slope_of(call)};
      set_numbers(call, lane[i], sums.numbers);
      sums.x = at(&call->x, r / call->l, lane[i], r % call->l);
      sums.g = at(&call->g, r / call->l, lane[i], r % call->l);
      sums.x_step = call->x.stride[axis];
      sums.g_step = call->g.stride[axis];
      call->kernels->channel_sums(&sums);
    }
  }
  for (int64_t i = 0; i < groups; i++)
    for (int64_t j = ck_max(0, c - lane[i]); j < PARTS; j++) { /* what is before c is another task's */
      to[2 * (lane[i] + j)] = parts[i][j];
      to[2 * (lane[i] + j) + 1] = parts[i][PARTS + j];
    }
}

/* ---------------------------------------------------------------- maps */

/* `runs` runs from (n, c, l) on, from one to the next along `axis`. */
static void map_from(const ck_channels *call, int64_t n, int64_t c, int64_t l, int64_t count, int64_t runs, int axis) {
  ck_channel_map map = {
      .count = count, .runs = runs, .lanes = call->lanes, .sloped = is_sloped(call), .slope = slope_of(call)};
  map.bounds = ck_bounds_of(call->activation, call->act_a, call->act_b);
  map.x = at(&call->x, n, c, l);
  map.g = at(&call->g, n, c, l);
  map.y = at(&call->y, n, c, l);
  map.x_step = call->x.stride[axis];
  map.g_step = call->g.stride[axis];
  map.y_step = call->y.stride[axis];
  set_numbers(call, c, map.numbers);
  call->kernels->channel_map(&map);
}

static void map_planes(ck_worker *worker, void *context, int64_t index) {
  const channel_call *p = context;
  const int64_t c = index % p->blocks * p->each;
  (void)worker;
  map_from(p->call, index / p->blocks, c, 0, p->call->l, ck_min(p->each, p->call->c - c), 1);
}

void ck_channels_map(const ck_channels *call, ck_worker *worker, int64_t first, int64_t count) {
  const int64_t each = steps_between(count * call->l);
  for (int64_t n = 0; n < call->n && !ck_stopped_at(worker, n, each); n++)
    map_from(call, n, first, 0, call->l, count, 1);
}

static void map_rows(ck_worker *worker, void *context, int64_t index) {
  const channel_call *p = context;
  const ck_channels *call = p->call;
  const int64_t end = ck_min(call->n * call->l, (index + 1) * p->each);
  int64_t count;
  (void)worker;
  for (int64_t r = index * p->each; r < end; r += count) {
    count = even_rows(call, r, end);
    map_from(call, r / call->l, 0, r % call->l, call->c, count, call->l == 1 ? 0 : 2);
  }
}

/* ---------------------------------------------------------------- entry */

int64_t ck_channels_workspace(const ck_channels *call) {
  return call->sums && call->lanes ? row_chunks(call) * 2 * call->c * (int64_t)sizeof(double) : 0;
}

ck_status ck_channels_run(const ck_channels *call) {
  channel_call p = {.call = call};
  const int64_t rows = call->n * call->l;
  if (!call->lanes) {
    p.each = call->sums ? ck_channels_together(call) : ck_max(1, ck_min(TASK / call->l, call->c));
    p.blocks = ck_ceil_div(call->c, p.each);
    return call->sums ? ck_parallel(p.blocks, sum_channels, &p, &call->run, NULL, 0)
                      : ck_parallel(call->n * p.blocks, map_planes, &p, &call->run, NULL, 0);
  }
  if (!call->sums) {
    p.each = ck_max(1, TASK / call->c);
    return ck_parallel(ck_ceil_div(rows, p.each), map_rows, &p, &call->run, NULL, 0);
  }
  if (call->run.workspace_bytes < ck_channels_workspace(call))
    return CK_WORKSPACE;
  p.chunks = row_chunks(call);
  p.blocks = ck_ceil_div(call->c, LANE_GROUPS * PARTS);
  ck_status status = ck_parallel(p.chunks * p.blocks, sum_rows, &p, &call->run, NULL, 0);
  const double *part = call->run.workspace;
  memcpy(call->sums, part, (size_t)(2 * call->c) * sizeof(double));
  for (int64_t i = 2 * call->c; status == CK_OK && i < p.chunks * 2 * call->c; i++)
    call->sums[i % (2 * call->c)] += part[i];
  return status;
}
