/* Pooling: a block of results is held in scratch, the source goes by row after row.  Each row is reduced along itself
 * once, for every result that needs it; the reduced row is then combined into all results that cover it.  Rows and taps
 * come in row-major order: so the first of equal maxima stays, and sums have one order for all layouts and blocks.
 *
 * The average's gradient is the same with the roles exchanged: a sum over the outputs that cover an element, each first
 * divided.  It gathers, so no two tasks write to one place. */
#include <math.h>
#include <string.h>

#include "pool.h"

enum { POLL_ELEMENTS = 1 << 20 };

typedef struct pool_task {
  const ck_pool_plan *p;
  ck_pool_buffers b;
  ck_worker *worker;
  ck_box box;
  int64_t z_lo, z_hi, y_lo, y_hi; /* the hull of the sources */
  int64_t x_lo, x_hi;             /* and of those staged: with lanes along the row it may reach out of the image */
  int64_t image, channel, lanes;  /* the unit's; lanes: channels in use */
  int64_t vectors, ld;
  int staged, stopped;
  int64_t until_poll;
  ck_progression divisors_of; /* the outputs whose divisors are in scratch */
} pool_task;

static int64_t z_of(const pool_task *t, int64_t i) { return t->box.first[1] + i / t->box.size[2]; }
static int64_t y_of(const pool_task *t, int64_t i) { return t->box.first[2] + i % t->box.size[2]; }

static char *at(const ck_tensor *tensor, const pool_task *t, int64_t z, int64_t y, int64_t x) {
  const int64_t *s = tensor->stride;
  return (char *)tensor->data + t->image * s[0] + t->channel * s[1] + z * s[2] + y * s[3] + x * s[4];
}

static int64_t groups_of(const pool_task *t) { return t->p->lanes == CK_POOL_ROW ? t->p->row_groups : t->box.size[3]; }

static int64_t row_elements(const pool_task *t) { return groups_of(t) * t->ld; }

/* ---------------------------------------------------------------- tables of a block's row */

/* Divisors of `count` outputs from `first` on; 1 outside. */
static void set_divisors(pool_task *t, int64_t first, int64_t count) {
  const ck_pool_axis *axis = &t->p->axis[2];
  if (t->divisors_of.first == first && t->divisors_of.count == count)
    return;
  t->divisors_of = (ck_progression){first, 1, count};
  for (int64_t i = 0; i < count; i++)
    t->b.counts[i] = first + i >= 0 && first + i < axis->out ? ck_pool_divisor(axis, first + i) : 1;
  t->p->k->pool_divisors(t->b.divisor, t->b.counts, count);
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* ROW: where each tap's run of elements starts in the staged, and split, row. */
static void set_row_lists(pool_task *t) {
  const ck_pool_plan *p = t->p;
  const ck_pool_axis *a = &p->axis[2];
  int64_t x0 = t->box.first[3], ld = p->width / p->phases, used = 0, reach = a->dilation * (a->kernel - 1);
  t->x_lo = p->backward ? floor_div(x0 + a->lo - reach, a->stride) : x0 * a->stride - a->lo;
  t->x_hi = t->x_lo + p->width;
  for (int64_t f = 0; f < p->row_groups; f++) {
    ck_pool_taps *taps = &t->b.taps[f];
    *taps = (ck_pool_taps){.list = t->b.list + used, .index_step = (int32_t)a->dilation};
    for (int64_t i = 0; i < a->kernel; i++) {
      int64_t tap = p->backward ? a->kernel - 1 - i : i, offset = tap * a->dilation, q = x0 + f + a->lo - offset;
      if (p->backward && q % a->stride != 0)
        continue;
      offset = p->backward ? floor_div(q, a->stride) - t->x_lo : offset % a->stride * ld + offset / a->stride;
      t->b.list[used++] = offset * p->k->real_size;
    }
    taps->count = t->b.list + used - taps->list;
  }
  if (p->indexed)
    p->k->pool_lanes(t->b.lane, p->row_ld, a->stride);
}

/* Channels as lanes: each result's taps among source positions lo..hi-1 of the row, `step` bytes apart. */
static void set_channel_taps(pool_task *t, int64_t lo, int64_t hi, int64_t step) {
  for (int64_t i = 0; i < t->box.size[3]; i++) {
    ck_progression taps = ck_pool_clip(ck_pool_taps_of(t->p, 2, t->box.first[3] + i), lo, hi);
    int64_t first = taps.first - lo;
    t->b.taps[i] = (ck_pool_taps){.first = first * step, .count = taps.count, .index = (int32_t)first};
    if (taps.count > 1) { /* a step that is not taken may be as large as it likes */
      t->b.taps[i].step = taps.step * step;
      t->b.taps[i].index_step = (int32_t)taps.step;
    }
  }
}

/* The hull of the sources that the block's results need along one axis. */
static void source_range(const pool_task *t, int d, int64_t *lo, int64_t *hi) {
  if (t->p->backward)
    ck_pool_outputs(&t->p->axis[d], t->box.first[d + 1], t->box.size[d + 1], lo, hi);
  else
    ck_pool_inputs(&t->p->axis[d], t->box.first[d + 1], t->box.size[d + 1], lo, hi);
}

static ck_progression users_in_box(const pool_task *t, int d, int64_t source) {
  int64_t first = t->box.first[d + 1];
  return ck_pool_clip(ck_pool_users_of(t->p, d, source), first, first + t->box.size[d + 1]);
}

static void prepare(pool_task *t) {
  const ck_pool_plan *p = t->p;
  int64_t x0 = t->box.first[3], n = t->box.size[3];
  source_range(t, 0, &t->z_lo, &t->z_hi);
  source_range(t, 1, &t->y_lo, &t->y_hi);
  source_range(t, 2, &t->x_lo, &t->x_hi);
  for (int64_t y = t->y_lo; y < t->y_hi && y - t->y_lo < CK_POOL_USERS; y++)
    t->b.users[y - t->y_lo] = users_in_box(t, 1, y);
  if (p->lanes == CK_POOL_ROW) {
    set_row_lists(t);
    p->k->pool_fill(t->b.raw, p->width, p->max ? -INFINITY : 0);
    if (!p->max)
      set_divisors(t, p->backward ? t->x_lo : x0, p->backward ? p->width : p->row_ld);
  } else if (!p->max && !p->backward) {
    set_divisors(t, x0, n);
  }
  for (int64_t i = 0; p->indexed && i < n; i++) {
    ck_progression window = ck_pool_window(&p->axis[2], x0 + i);
    t->b.first[i] = window.count > 0 ? window.first : -1;
  }
}

/* ---------------------------------------------------------------- one row */

static double row_divisor(const ck_pool_plan *p, int64_t z, int64_t y) {
  return (double)ck_pool_divisor(&p->axis[0], z) * (double)ck_pool_divisor(&p->axis[1], y);
}

/* ROW: the row in scratch, what lies outside the image neutral, gradients divided, strided sources split. */
static const char *stage_row(pool_task *t, int64_t z, int64_t y) {
  const ck_pool_plan *p = t->p;
  const ck_kernels *k = p->k;
  int64_t lo = ck_max(0, t->x_lo), hi = ck_min(p->src_size[2], t->x_hi);
  if (hi > lo) {
    int32_t row_dst = 0;
    int64_t row_src = 0;
    ck_span span = {.dst = (int32_t)(lo - t->x_lo), .length = (int32_t)(hi - lo), .src_step = p->src.stride[4]};
    ck_stage stage = {.dst = t->b.raw,
                      .src = at(&p->src, t, z, y, lo),
                      .src_end = p->src_end,
                      .images = 1,
                      .channels = 1,
                      .src_channel = p->src.stride[3],
                      .dst_position = 1,
                      .rows = 1,
                      .row_dst = &row_dst,
                      .row_src = &row_src,
                      .spans = 1,
                      .span = &span};
    k->stage(&stage);
  }
  if (p->backward)
    k->pool_divide(t->b.raw, 1, p->width, t->b.divisor, 1, row_divisor(p, z, y));
  if (p->phases == 1)
    return t->b.raw;
  k->pool_split(t->b.split, t->b.raw, p->phases, p->width / p->phases);
  return t->b.split;
}

/* STAGED: `rows` rows of positions lo..hi-1, a vector of channels at each. */
static void stage_channels(pool_task *t, int64_t z, int64_t y, int64_t rows, int64_t lo, int64_t hi) {
  const ck_pool_plan *p = t->p;
  const int64_t *stride = p->src.stride, vl = p->k->vector, width = hi - lo;
  int64_t runs = rows;
  ck_span span = {.length = (int32_t)width, .src_step = stride[4]};
  if (rows > 1 && stride[3] == width * stride[4]) { /* one after the other in memory: one long row */
    span.length = (int32_t)(width * rows);
    runs = 1;
  }
  for (int64_t r = 0; r < runs; r++) {
    t->b.row_dst[r] = (int32_t)(r * width);
    t->b.row_src[r] = r * stride[3];
  }
  ck_stage stage = {.dst = t->b.raw,
                    .src = at(&p->src, t, z, y, lo),
                    .src_end = p->src_end,
                    .images = 1,
                    .channels = 1,
                    .lanes = t->lanes,
                    .src_lane = stride[1],
                    .dst_position = vl,
                    .rows = runs,
                    .row_dst = t->b.row_dst,
                    .row_src = t->b.row_src,
                    .spans = 1,
                    .span = &span};
  p->k->stage(&stage);
  for (int64_t r = 0; r < rows && p->backward; r++) {
    char *row = t->b.raw + r * width * vl * p->k->real_size;
    set_divisors(t, lo, width);
    p->k->pool_divide(row, width, vl, t->b.divisor, 0, row_divisor(p, z, y + r));
  }
}

static void reduce(pool_task *t, const char *row, int fresh) {
  ck_pool_reduce call = {.max = t->p->max,
                         .fresh = fresh,
                         .groups = groups_of(t),
                         .vectors = t->vectors,
                         .taps = t->b.taps,
                         .row = row,
                         .h = t->b.h};
  if (t->p->indexed) {
    call.h_index = t->b.h_index;
    call.lane = t->p->lanes == CK_POOL_ROW ? t->b.lane : NULL;
  }
  t->p->k->pool_reduce(&call);
}

/* The reduced row into the results of the block that cover it; base is what its index 0 stands for. */
static void combine(pool_task *t, ck_progression in_z, ck_progression in_y, int64_t base) {
  const int64_t elements = row_elements(t), item = t->p->k->real_size;
  for (int64_t i = 0; i < in_z.count; i++) {
    for (int64_t j = 0; j < in_y.count; j++) {
      int64_t z = in_z.first + i * in_z.step - t->box.first[1], y = in_y.first + j * in_y.step - t->box.first[2];
      int64_t row = (z * t->box.size[2] + y) * elements;
      ck_pool_combine call = {
          .max = t->p->max, .count = elements, .base = base, .acc = t->b.acc + row * item, .h = t->b.h};
      if (t->p->indexed) {
        call.h_index = t->b.h_index;
        call.acc_index = t->b.acc_index + row;
      }
      t->p->k->pool_combine(&call);
    }
  }
}

/* Source row (z, y), whose channels may be staged already, at `row`. */
static void visit_row(pool_task *t, int64_t z, int64_t y, ck_progression in_z, ck_progression in_y, const char *row) {
  const ck_pool_plan *p = t->p;
  int64_t base = (z * p->src_size[1] + y) * p->src_size[2];
  if (p->lanes == CK_POOL_ROW) {
    reduce(t, stage_row(t, z, y), 1);
    combine(t, in_z, in_y, base + t->x_lo);
    return;
  }
  int64_t chunk = p->width, whole = t->x_hi - t->x_lo <= chunk;
  for (int64_t lo = t->x_lo; lo < t->x_hi || lo == t->x_lo; lo += chunk) {
    int64_t hi = ck_min(lo + chunk, t->x_hi), step = t->staged ? t->ld * p->k->real_size : p->src.stride[4];
    if (!whole)
      set_channel_taps(t, lo, hi, step);
    if (t->staged && !row)
      stage_channels(t, z, y, 1, lo, hi);
    reduce(t, row ? row : t->staged ? t->b.raw : at(&p->src, t, z, y, lo), p->max || lo == t->x_lo);
    if (p->max || hi == t->x_hi)
      combine(t, in_z, in_y, base + lo);
  }
}

static int stopped(pool_task *t, int64_t elements) {
  t->until_poll -= elements;
  if (t->until_poll <= 0) {
    t->until_poll = POLL_ELEMENTS;
    t->stopped = ck_stopped(t->worker);
  }
  return t->stopped;
}

/* All source rows y..y+rows-1 of one plane that some result of the block covers. */
static void visit_rows(pool_task *t, int64_t z, ck_progression in_z, int64_t y, int64_t rows) {
  const ck_pool_plan *p = t->p;
  int64_t width = t->x_hi - t->x_lo;
  if (rows > 1)
    stage_channels(t, z, y, rows, t->x_lo, t->x_hi);
  for (int64_t r = 0; r < rows; r++) {
    int64_t row = y + r - t->y_lo;
    ck_progression in_y = row < CK_POOL_USERS ? t->b.users[row] : users_in_box(t, 1, y + r);
    if (in_y.count > 0)
      visit_row(t, z, y + r, in_z, in_y, rows > 1 ? t->b.raw + r * width * t->ld * p->k->real_size : NULL);
  }
}

/* ---------------------------------------------------------------- one block */

static void start(pool_task *t) {
  const ck_pool_plan *p = t->p;
  const int64_t rows = t->box.size[1] * t->box.size[2], elements = row_elements(t), nx = t->box.size[3];
  p->k->pool_fill(t->b.acc, rows * elements, p->max ? -INFINITY : 0);
  int64_t lanes = p->lanes == CK_POOL_ROW ? 1 : t->ld;
  for (int64_t i = 0; p->indexed && i < rows; i++) {
    ck_progression z = ck_pool_window(&p->axis[0], z_of(t, i)), y = ck_pool_window(&p->axis[1], y_of(t, i));
    int64_t base = (z.first * p->src_size[1] + y.first) * p->src_size[2], *index = t->b.acc_index + i * elements;
    for (int64_t x = 0; x < nx; x++)
      for (int64_t j = 0; j < lanes; j++)
        *index++ = z.count > 0 && y.count > 0 && t->b.first[x] >= 0 ? base + t->b.first[x] : -1;
  }
}

static void store_indices(const pool_task *t, int64_t row, const int64_t *from) {
  const ck_tensor *tensor = &t->p->indices;
  char *to = at(tensor, t, z_of(t, row), y_of(t, row), t->box.first[3]);
  const int64_t lanes = t->p->lanes == CK_POOL_ROW ? 1 : t->lanes, ld = t->p->lanes == CK_POOL_ROW ? 1 : t->ld;
  if (ld == 1 && tensor->stride[4] == sizeof(*from)) {
    memcpy(to, from, (size_t)t->box.size[3] * sizeof(*from));
    return;
  }
  for (int64_t x = 0; x < t->box.size[3]; x++)
    for (int64_t j = 0; j < lanes; j++)
      memcpy(to + x * tensor->stride[4] + j * tensor->stride[1], from + x * ld + j, sizeof(*from));
}

/* Rows of results that follow one another in memory as in scratch are one. */
static int64_t rows_in_one(const pool_task *t) {
  const ck_pool_plan *p = t->p;
  const int64_t *stride = p->dst.stride, nx = t->box.size[3];
  if (p->lanes == CK_POOL_ROW || nx != p->dst_size[2] || stride[3] != nx * stride[4])
    return 1;
  return t->box.size[2];
}

static void drain(pool_task *t) {
  const ck_pool_plan *p = t->p;
  const int64_t rows = t->box.size[1] * t->box.size[2], elements = row_elements(t), nx = t->box.size[3];
  const int row_lanes = p->lanes == CK_POOL_ROW;
  int64_t step = rows_in_one(t);
  for (int64_t i = 0; i < rows; i++) {
    if (!p->max && !p->backward)
      p->k->pool_divide(t->b.acc + i * elements * p->k->real_size, groups_of(t), t->ld, t->b.divisor, row_lanes,
                        row_divisor(p, z_of(t, i), y_of(t, i)));
    if (p->indexed)
      store_indices(t, i, t->b.acc_index + i * elements);
  }
  for (int64_t i = 0; i < rows; i += step) {
    char *acc = t->b.acc + i * elements * p->k->real_size;
    ck_drain call = {.c = acc,
                     .c_pixel = row_lanes ? 1 : t->ld,
                     .c_lane = 1,
                     .count = nx * step,
                     .dst = at(&p->dst, t, z_of(t, i), y_of(t, i), t->box.first[3]),
                     .lanes = row_lanes ? 1 : t->lanes,
                     .dst_pixel = p->dst.stride[4],
                     .dst_lane = p->dst.stride[1],
                     .copy = 1};
    if (row_lanes && p->row_groups > 1) {
      p->k->pool_join(t->b.joined, acc, p->row_groups, t->ld);
      call.c = t->b.joined;
    }
    p->k->drain(&call);
  }
}

static void run_block(pool_task *t) {
  const ck_pool_plan *p = t->p;
  int64_t group = t->staged ? p->stage_rows : 1;
  if (p->lanes != CK_POOL_ROW && t->x_hi - t->x_lo <= p->width)
    set_channel_taps(t, t->x_lo, t->x_hi, t->staged ? t->ld * p->k->real_size : p->src.stride[4]);
  start(t);
  for (int64_t z = t->z_lo; z < t->z_hi; z++) {
    ck_progression in_z = users_in_box(t, 0, z);
    for (int64_t y = t->y_lo; in_z.count > 0 && y < t->y_hi; y += group) {
      int64_t rows = ck_min(group, t->y_hi - y);
      if (t->x_hi > t->x_lo)
        visit_rows(t, z, in_z, y, rows);
      if (stopped(t, rows * (t->x_hi - t->x_lo) * t->vectors))
        return;
    }
  }
  drain(t);
}

/* Unit `index` of all images'. */
static void set_unit(pool_task *t, int64_t index) {
  const ck_pool_plan *p = t->p;
  int64_t vl = p->k->vector, unit = index % p->units;
  t->image = index / p->units;
  if (p->lanes == CK_POOL_ROW) {
    t->channel = unit;
    t->lanes = 1;
    t->ld = p->row_ld;
    t->vectors = p->row_ld / vl;
    return;
  }
  int64_t whole = p->channels / vl, direct = p->lanes == CK_POOL_DIRECT ? ck_ceil_div(whole, p->vectors) : 0;
  t->staged = unit >= direct;
  t->channel = t->staged && direct ? whole * vl : unit * p->vectors * vl;
  t->vectors = t->staged ? 1 : ck_min(p->vectors, whole - unit * p->vectors);
  t->lanes = ck_min(t->vectors * vl, p->channels - t->channel);
  t->ld = t->vectors * vl;
}

static void run_task(ck_worker *worker, void *context, int64_t index) {
  pool_task t = {.p = context, .worker = worker, .until_poll = POLL_ELEMENTS};
  ck_arena arena = {worker->scratch, 0};
  ck_pool_place(t.p, &arena, &t.b);
  t.box = ck_grid_box(&t.p->grid, index);
  prepare(&t);
  for (int64_t i = 0; i < t.box.size[0] && !t.stopped; i++) {
    set_unit(&t, t.box.first[0] + i);
    run_block(&t);
  }
}

/* ---------------------------------------------------------------- entry */

/* Small problems run on one thread: waking a second one costs about as long as 2^15 elements. */
static int threads_for(const ck_pool *call) {
  const ck_pool_shape *s = &call->shape;
  double elements = (double)s->n * (double)s->channels;
  for (int d = 0; d < 3; d++)
    elements *= (double)ck_max(s->in[d], s->out[d]);
  return elements >= 32768.0 * call->run.threads ? call->run.threads : (int)ck_max(1, (int64_t)(elements / 32768));
}

ck_status ck_pool_workspace(const ck_pool *call, ck_pool_op op, int64_t *bytes) {
  *bytes = 0;
  if (op <= CK_POOL_AVERAGE_GRAD) {
    int threads = threads_for(call);
    int whole = op == CK_POOL_AVERAGE && ck_pool_is_whole(&call->shape);
    *bytes = threads * (whole ? ck_pool_whole_bytes(call) : ck_pool_plan_make(call, op, threads).bytes);
  }
  return CK_OK;
}

ck_status ck_pool_run(const ck_pool *call, ck_pool_op op) {
  ck_pool sized = *call;
  sized.run.threads = threads_for(call);
  if (op > CK_POOL_AVERAGE_GRAD)
    return ck_pool_points_run(&sized, op);
  if (op == CK_POOL_AVERAGE && ck_pool_is_whole(&call->shape))
    return ck_pool_whole_run(&sized);
  ck_pool_plan p = ck_pool_plan_make(&sized, op, sized.run.threads);
  return ck_parallel(ck_grid_count(&p.grid), run_task, &p, &sized.run, sized.run.workspace, p.bytes);
}
