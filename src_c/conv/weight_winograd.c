#include "weight_winograd.h"

#include <string.h>

#include "base/parallel.h"
#include "conv_dense.h"
#include "dense/dense_cost.h"
#include "dense/multiply.h"
#include "dense/winograd_tiles.h"
#include "weight_cut.h"

/* CHAIN_TILES, by which dW's rounding is bounded: 64 to 1024 measured alike. MIDDLE: the point that is the sum of all
 * of a gradient's tile, and so the bias's. */
enum { CHAIN_TILES = 128, MIDDLE = 7 };

typedef struct ww_plan {
  ck_weight_cut cut;
  double cycles; /* estimated */
  int transposed;
  int64_t phases[2];            /* of a dilated kernel */
  ck_grid chains;               /* of tiles, of the largest phase */
  int64_t longest[4], block[4]; /* tiles of the longest chain, and those that are brought in at a time */
  ck_window_size x, y;
  int64_t channels;      /* of a block of rows, whole vectors */
  int64_t inputs, tiles; /* of a block */
  int whole, single;     /* every block is a chain: the points' sums of one lane tile are kept; or all there is */
  int64_t v_point, q_point, m_point; /* elements from point to point: of x, of the gradient, of their sums */
} ww_plan;

/* Of all phases. */
static int64_t chains_of(const ww_plan *p) { return ck_grid_count(&p->chains) * p->phases[0] * p->phases[1]; }

typedef struct ww_buffers {
  ck_window x, y;
  char *v, *q, *m, *sums; /* points of x, of the gradient, of their product; those of all blocks */
  int32_t *ko, *ro;
  ck_row_panel *panels;
} ww_buffers;

typedef struct ww_task {
  const ww_plan *p;
  const ck_weight_cut *cut;
  ck_weight_part part;
  ck_source x, y;  /* of a phase */
  int64_t size[4]; /* of its tiles */
  ww_buffers b;
  int steady; /* whether the block's tiles lie at a constant step */
  char *sums;
} ww_task;

int ck_weight_by_winograd(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  return call->algorithm == CK_WINOGRAD && s->kernel[1] == 3 && s->kernel[2] == 3 && s->n > 0 && s->c_in > 0 &&
         s->c_out > 0;
}

/* ---------------------------------------------------------------- plan */

/* What phase `index` reads of the tensors, and its tiles. */
static void set_phase(const ww_plan *p, int64_t index, ck_source *x, ck_source *y, int64_t size[4]) {
  const ck_conv *call = p->cut.call;
  const ck_conv_shape *s = &call->shape;
  const int64_t first[3] = {0, index / p->phases[1], index % p->phases[1]};
  *x = ck_conv_x_source(call, p->transposed, 1);
  *y = ck_conv_y_source(call, !p->transposed, 1);
  x->lane_channels = y->lane_channels = 1;
  y->axis[0] = ck_winograd_axis(s->out[0], s->out[0], 0, 1, CK_ZEROS);
  size[0] = s->n;
  size[1] = s->out[0];
  for (int i = 1; i < 3; i++) {
    const int64_t outputs = ck_ceil_div(ck_max(0, s->out[i] - first[i]), s->dilation[i]);
    x->axis[i] = ck_winograd_axis(outputs + CK_WINOGRAD_MARGIN, s->in[i], first[i] - s->pad_lo[i], s->dilation[i],
                                  s->padding_mode);
    y->axis[i] = ck_winograd_axis(outputs, s->out[i], first[i], s->dilation[i], CK_ZEROS);
    size[i + 1] = ck_ceil_div(outputs, CK_WINOGRAD_TILE);
  }
}

static void place(const ww_plan *p, const ck_source *x, const ck_source *y, ck_arena *arena, ww_buffers *b) {
  const ck_weight_cut *cut = &p->cut;
  const int64_t item = cut->k->real_size, rows = p->channels * p->x.taps[0];
  b->v = ck_take(arena, CK_WINOGRAD_POINTS * p->v_point * item);
  b->q = ck_take(arena, CK_WINOGRAD_POINTS * p->q_point * item);
  b->m = ck_take(arena, (p->whole ? 1 : cut->part_tiles) * CK_WINOGRAD_POINTS * p->m_point * item);
  b->sums = ck_take(arena, cut->segments > 1 ? 0 : cut->partial / (p->single ? cut->part_tiles : 1) * item);
  b->ko = ck_take(arena, p->tiles * (int64_t)sizeof(int32_t));
  b->ro = ck_take(arena, rows * (int64_t)sizeof(int32_t));
  b->panels = ck_take(arena, ck_row_panel_count(cut->k, rows) * (int64_t)sizeof(ck_row_panel));
  ck_window_place(&b->x, cut->k, x, &p->x, arena);
  ck_window_place(&b->y, cut->k, y, &p->y, arena);
}

static void set_block(ww_plan *p, int64_t target) {
  const int64_t planes = p->cut.call->shape.kernel[0];
  ck_row_block(p->longest, target, 1, p->block);
  p->x = ck_winograd_window(p->block, CK_WINOGRAD_MARGIN, planes);
  p->y = ck_winograd_window(p->block, 0, 1);
  p->tiles = p->block[0] * p->block[1] * p->block[2] * p->block[3];
  p->whole = memcmp(p->block, p->longest, sizeof p->block) == 0;
  p->single = p->whole && chains_of(p) == 1;
}

static void set_cut(ww_plan *p, int64_t channels, int64_t tile_parts, const ck_source *x, const ck_source *y) {
  ck_weight_cut *cut = &p->cut;
  const int64_t item = cut->k->real_size, planes = p->x.taps[0];
  ck_kblock largest;
  ck_weight_cut_set(cut, channels * planes * CK_WINOGRAD_TAPS, tile_parts, &largest);
  p->channels = ck_round_up(largest.channels, cut->k->vector);
  p->inputs = p->tiles / p->block[1] * ck_axis_extent(&x->axis[0], p->block[1], planes);
  p->v_point = ck_winograd_point(p->inputs * p->channels, item);
  p->q_point = ck_winograd_point(p->tiles * cut->ld, item);
  p->m_point = ck_winograd_point(largest.channels * planes * cut->ld, item);
  ww_buffers b;
  ck_arena count = {0};
  place(p, x, y, &count, &b);
  cut->bytes = count.used;
}

static double load_cycles(const ww_plan *p, const ck_source *source, const ck_window_size *window, int64_t tiles) {
  const int apart = source->tensor.stride[1] != (int64_t)p->cut.k->real_size;
  return (double)ck_window_elements(p->cut.k, source, window) * (apart ? ck_cost.stage_turned : ck_cost.stage) +
         (double)tiles * ck_tile_cycles(p->cut.k);
}

static double task_cycles(const ww_plan *p, const ck_source *x, const ck_source *y) {
  const ck_weight_cut *cut = &p->cut;
  const ck_kernels *k = cut->k;
  const double points = CK_WINOGRAD_POINTS, item = (double)k->real_size, lanes = (double)(cut->ld / k->vector);
  const double rows = (double)(cut->max_rows / CK_WINOGRAD_TAPS), tiles = (double)cut->part_tiles;
  const ck_box chain = {.size = {p->longest[0], p->longest[1], p->longest[2], p->longest[3]}};
  const double chains = (double)chains_of(p) / (double)cut->segments;
  const double blocks = (double)ck_box_count(&chain) / (double)p->tiles;
  const double sums = points * rows * lanes * k->vector * item * ck_cost.level2;
  const double products = points * (ck_cost.strip + ck_rows_cycles(k, rows, lanes, (double)p->tiles, 1)) + 2 * sums;
  const double block = (double)(p->channels / k->vector) * load_cycles(p, x, &p->x, p->inputs) +
                       tiles * (lanes * load_cycles(p, y, &p->y, p->tiles) + products);
  const double each = rows * lanes * tiles, drain = CK_WINOGRAD_TAPS * k->vector * ck_cost.drain_turned;
  return chains * (blocks * block + each * ck_tile_cycles(k)) + each * drain + ck_cost.task;
}

/* Of all threads: sums to be joined, and a byte a task. */
static int64_t shared_bytes(const ck_weight_cut *cut) { return ck_weight_shared(cut) + ck_round_up(cut->tasks, 64); }

static int64_t bytes_above(const ww_plan *p, const ck_run *run) {
  return ck_weight_above(&p->cut, shared_bytes(&p->cut), run);
}

/* Takes the trial, cut so, if it is better than the best: less above what a thread may have, or as much and cheaper. */
static void consider(ww_plan *best, ww_plan *trial, int64_t channels, int64_t tile_parts, const ck_source source[2],
                     const ck_run *run) {
  const int64_t over = bytes_above(best, run);
  set_cut(trial, channels, tile_parts, &source[0], &source[1]);
  trial->cycles = task_cycles(trial, &source[0], &source[1]) * (double)ck_ceil_div(trial->cut.tasks, run->threads);
  const int64_t above = bytes_above(trial, run);
  if (best->cycles == 0 || above < over || (above == over && trial->cycles < best->cycles))
    *best = *trial;
}

/* Tries blocks of tiles, and splits of dW: so many vectors of channels by so many lane tiles; or, where a limit is that
 * low, a few channels. */
static void choose(ww_plan *p, const ck_run *run) {
  static const int64_t targets[] = {64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 1};
  static const int64_t sides[] = {64, 32, 24, 16, 12, 11, 8, 6, 5, 4, 3, 2, 1};
  const int count = sizeof sides / sizeof *sides;
  const int64_t vector = p->cut.k->vector, tiles = p->cut.tiles, channels = ck_max(1, p->cut.rows.channels);
  const int64_t vectors = ck_ceil_div(channels, vector);
  ww_plan trial = *p;
  ck_source source[2];
  int64_t size[4];
  set_phase(p, 0, &source[0], &source[1], size);
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    set_block(&trial, targets[i]);
    for (int j = 0; j < count * count; j++) {
      const int64_t rows = sides[j / count], lanes = sides[j % count];
      if (rows <= vectors && (lanes <= tiles || lanes == 1))
        consider(p, &trial, ck_min(channels, rows * vector), ck_max(1, ck_ceil_div(tiles, lanes)), source, run);
    }
  }
  for (int64_t few = vector / 2; few && bytes_above(p, run); few /= 2)
    consider(p, &trial, ck_min(channels, few), ck_max(1, tiles), source, run);
}

static ww_plan fresh_plan(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  ww_plan p = {.cut = ck_weight_cut_of(call, 0), .transposed = transposed};
  int64_t size[4], block[4];
  ck_source x, y;
  for (int i = 0; i < 2; i++)
    p.phases[i] = ck_min(s->dilation[i + 1], s->out[i + 1]);
  set_phase(&p, 0, &x, &y, size);
  ck_row_block(size, CHAIN_TILES, 1, block);
  p.chains = ck_grid_make(size, block);
  for (int i = 0; i < 4; i++)
    p.longest[i] = ck_grid_largest(&p.chains, i);
  p.cut.segments = ck_weight_segments(&p.cut, p.cut.rows.channels * s->kernel[0], chains_of(&p));
  choose(&p, &call->run);
  return p;
}

static ww_plan make_plan(const ck_conv *call, int transposed) {
  ck_memo_key key = ck_weight_key(call, transposed);
  ww_plan p;
  ck_key_add(&key, -2); /* no other plan's */
  if (!ck_memo_find(&key, &p, sizeof p)) {
    p = fresh_plan(call, transposed);
    ck_memo_keep(&key, &p, sizeof p);
  }
  p.cut.call = call;
  return p;
}

_Static_assert(sizeof(ww_plan) <= CK_MEMO_BYTES, "a plan must fit its place");

/* ---------------------------------------------------------------- run */

/* Where the tiles' inputs lie among the points, and those of (tap of the first axis, channel). */
static void set_offsets(ww_task *t, const ck_box *tiles) {
  const ck_window *w = &t->b.x;
  const int64_t plane = tiles->size[2] * tiles->size[3], chunk = t->p->channels;
  int32_t *ro = t->b.ro;
  ck_winograd_tile_offsets(w, tiles, chunk, t->b.ko);
  t->steady = ck_is_steady(t->b.ko, ck_box_count(tiles));
  for (int64_t tap = 0; tap < t->p->x.taps[0]; tap++)
    for (int64_t c = 0; c < t->part.rows.channels; c++)
      *ro++ = (int32_t)(w->axis_tap[0][tap] * plane * chunk + c);
  ck_row_panels_set(t->cut->k, t->b.ro, t->part.row_count / CK_WINOGRAD_TAPS, 0, t->b.panels);
}

static char *points_of(const ww_task *t, int64_t tile) {
  return t->b.m + (t->p->whole ? 0 : tile - t->part.tile) * CK_WINOGRAD_POINTS * t->p->m_point * t->cut->k->real_size;
}

static char *sums_of(const ww_task *t, int64_t tile) {
  return t->p->single ? t->sums : ck_weight_tile(t->cut, &t->part, t->sums, tile);
}

/* One lane tile's products over a block of tiles. */
static void multiply(const ww_task *t, const ck_box *tiles, int64_t tile, int go_on) {
  const ww_plan *p = t->p;
  const int64_t item = t->cut->k->real_size, count = ck_box_count(tiles), ld = ck_weight_ld(t->cut, tile);
  int64_t first, step, lanes;
  ck_weight_lanes(t->cut, &t->part, tile, &first, &step, &lanes);
  const ck_winograd_load load = {.window = (ck_window *)&t->b.y,
                                 .transform = t->cut->k->winograd_grad,
                                 .planes = 1,
                                 .to = t->b.q,
                                 .to_point = p->q_point,
                                 .to_tile = ld};
  ck_winograd_load_tiles(&load, tiles, first, lanes);
  if (t->part.row_part == 0 && t->cut->call->bias)
    t->cut->k->column_sums(t->b.q + MIDDLE * p->q_point * item, count, ld,
                           sums_of(t, tile) + t->cut->max_rows * ld * item);
  ck_row_product product = {.kernels = t->cut->k,
                            .k = count,
                            .rows = t->part.row_count / CK_WINOGRAD_TAPS,
                            .ld = ld,
                            .data = t->b.v,
                            .ko = t->b.ko,
                            .steady = t->steady,
                            .panels = t->b.panels,
                            .panel = t->b.q,
                            .total = points_of(t, tile),
                            .mode = go_on ? CK_GO_ON : CK_STORE};
  for (int e = 0; e < CK_WINOGRAD_POINTS; e++) {
    ck_multiply_rows(&product);
    product.data = (const char *)product.data + p->v_point * item;
    product.panel = (const char *)product.panel + p->q_point * item;
    product.total = (char *)product.total + p->m_point * item;
  }
}

/* Adds a chain's sums to those of dW; whether any is not finite. */
static int end_chain(const ww_task *t, int64_t tile) {
  const ck_weight_cut *cut = t->cut;
  const int64_t item = cut->k->real_size, planes = t->p->x.taps[0], channels = t->part.rows.channels;
  const int64_t ld = ck_weight_ld(cut, tile);
  int nonfinite = 0;
  for (int64_t z = 0; z < planes; z++) {
    const ck_winograd_taps taps = {.rows = channels,
                                   .from = points_of(t, tile) + z * channels * ld * item,
                                   .from_point = t->p->m_point,
                                   .ld = ld,
                                   .to = sums_of(t, tile) + z * CK_WINOGRAD_TAPS * ld * item,
                                   .to_row = planes * CK_WINOGRAD_TAPS * ld};
    nonfinite |= cut->k->winograd_taps(&taps);
  }
  return nonfinite;
}

/* Of a chain, whose first and last it may be; whether any sum is not finite. */
static int run_block(ww_task *t, const ck_box *tiles, int first, int last) {
  const ck_weight_cut *cut = t->cut;
  const ck_winograd_load load = {.window = &t->b.x,
                                 .transform = cut->k->winograd_in,
                                 .margin = CK_WINOGRAD_MARGIN,
                                 .planes = t->p->x.taps[0],
                                 .to = t->b.v,
                                 .to_point = t->p->v_point,
                                 .to_tile = t->p->channels};
  int nonfinite = 0;
  if (t->part.row_count) {
    ck_winograd_load_tiles(&load, tiles, t->part.outer * cut->call->shape.c_in + t->part.rows.channel,
                           t->part.rows.channels);
    set_offsets(t, tiles);
  }
  for (int64_t tile = t->part.tile; tile < t->part.tile_end; tile++) {
    if (t->p->single)
      memset(t->sums, 0, (size_t)((cut->max_rows + 1) * cut->ld * cut->k->real_size));
    multiply(t, tiles, tile, !first);
    if (last)
      nonfinite |= end_chain(t, tile);
    if (t->p->single)
      ck_weight_store(cut, &t->part, tile, t->sums);
  }
  return nonfinite;
}

/* A chain's tiles, of this phase: phases differ in size. */
static int run_chain(ww_task *t, ck_worker *worker, int64_t index) {
  ck_box chain = ck_grid_box(&t->p->chains, index);
  for (int i = 2; i < 4; i++)
    chain.size[i] = ck_min(chain.size[i], t->size[i] - chain.first[i]);
  if (chain.size[2] <= 0 || chain.size[3] <= 0)
    return 0;
  const ck_grid grid = ck_grid_make(chain.size, t->p->block);
  const int64_t blocks = ck_grid_count(&grid);
  int nonfinite = 0;
  for (int64_t i = 0; i < blocks && !ck_stopped(worker); i++) {
    ck_box tiles = ck_grid_box(&grid, i);
    for (int d = 0; d < 4; d++)
      tiles.first[d] += chain.first[d];
    nonfinite |= run_block(t, &tiles, i == 0, i == blocks - 1);
  }
  return nonfinite;
}

typedef struct ww_call {
  ww_plan plan;
  unsigned char *nonfinite; /* [task] */
} ww_call;

static void ww_run_task(ck_worker *worker, void *context, int64_t index) {
  const ww_call *call = context;
  const ww_plan *p = &call->plan;
  const int64_t chains = ck_grid_count(&p->chains), all = chains_of(p);
  ww_task t = {.p = p, .cut = &p->cut, .part = ck_weight_part_at(&p->cut, index)};
  const int64_t end = all * (t.part.segment + 1) / p->cut.segments;
  int64_t phase = -1;
  for (int64_t i = all * t.part.segment / p->cut.segments; i < end && !ck_stopped(worker); i++) {
    if (i / chains != phase) {
      ck_arena arena = {.base = worker->scratch};
      const int begins = phase < 0;
      phase = i / chains;
      set_phase(p, phase, &t.x, &t.y, t.size);
      place(p, &t.x, &t.y, &arena, &t.b);
      if (begins)
        t.sums = p->single ? t.b.sums : ck_weight_sums(&p->cut, index, t.b.sums);
    }
    call->nonfinite[index] |= (unsigned char)run_chain(&t, worker, i % chains);
  }
  if (t.sums && !p->single)
    ck_weight_end(&p->cut, &t.part, t.sums);
}

ck_status ck_weight_winograd(const ck_conv *conv, int transposed, int64_t *bytes, int *again) {
  ww_call call = {.plan = make_plan(conv, transposed)};
  const ck_weight_cut *cut = &call.plan.cut;
  const ck_run *run = &conv->run;
  const int64_t shared = shared_bytes(cut);
  if (bytes) {
    *bytes = ck_max(*bytes, shared + run->threads * cut->bytes);
    return CK_OK;
  }
  if (run->workspace_bytes < shared)
    return CK_WORKSPACE;
  call.nonfinite = (unsigned char *)run->workspace + ck_weight_shared(cut);
  memset(call.nonfinite, 0, (size_t)cut->tasks);
  ck_status status = ck_parallel(cut->tasks, ww_run_task, &call, run, (char *)run->workspace + shared, cut->bytes);
  *again = memchr(call.nonfinite, 1, (size_t)cut->tasks) != NULL;
  return status == CK_OK ? ck_weight_join(cut) : status;
}
