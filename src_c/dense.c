#include "dense.h"

#include <string.h>

/* ---------------------------------------------------------------- plan */

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
  double k = (double)d->channels * (double)(p->reduction.taps[0] * p->reduction.taps[1] * p->reduction.taps[2]);
  double panels = (double)ck_ceil_div(p->pixels, d->kernels->max_height);
  double tiles = (double)p->part_tiles, window = (double)ck_window_elements(d->kernels, &d->source, &p->window);
  double multiply = k * tiles * ((double)p->pixels + panels), pack = 12 * k * tiles;
  if (d->flavour == CK_BY_CHANNEL)
    multiply = k * (double)(p->tile_lanes * p->run) / (2 * d->kernels->vector);
  double stage = 0.3 * window * (double)ck_max(1, ck_reduction_count(&p->reduction));
  return multiply + pack + stage + 16.0 * (double)p->pixels * tiles + 2000;
}

typedef struct ck_buffers {
  ck_window window;
  char *acc, *panel, *bias;
  int32_t *ko, *ro;
  int64_t *w_off;
} ck_buffers;

static void place(const ck_dense *d, const ck_dense_plan *p, ck_arena *arena, ck_buffers *b) {
  const int64_t item = d->kernels->real_size, ld = ck_round_up(p->tile_lanes, d->kernels->vector);
  ck_window_place(&b->window, d->kernels, &d->source, &p->window, arena);
  int64_t kept = ck_reduction_count(&p->reduction) > 1 ? p->part_tiles : 1;
  int64_t taps = p->window.taps[0] * p->window.taps[1] * p->window.taps[2];
  b->acc = ck_take(arena, kept * (d->flavour == CK_BY_CHANNEL ? p->run * p->tile_lanes : p->pixels * ld) * item);
  b->panel = ck_take(arena, p->kmax * ld * item);
  b->bias = ck_take(arena, ld * item);
  b->ko = ck_take(arena, p->kmax * (int64_t)sizeof(int32_t));
  b->ro = ck_take(arena, ck_max(p->pixels, p->tile_lanes) * (int64_t)sizeof(int32_t));
  b->w_off = ck_take(arena, ck_max(1, taps) * (int64_t)sizeof(int64_t));
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
  p->tasks = p->outer * p->tile_parts * (d->fold ? p->grid.parts[0] : ck_grid_count(&p->grid));
  ck_arena count = {0};
  ck_buffers b;
  place(d, p, &count, &b);
  p->bytes = count.used;
}

/* Tries block sizes, cuts of the innermost axis and splits of the lane tiles; keeps the least estimated time that fits
 * a thread's scratch. */
static void choose_block(const ck_dense *d, ck_dense_plan *p, int threads) {
  static const int64_t targets[] = {896, 784, 560, 448, 392, 280, 224, 112, 56, 28, 14, 7, 1};
  ck_dense_plan trial = *p;
  double best = -1;
  int64_t all = p->grid.size[0] * p->grid.size[1] * p->grid.size[2] * p->grid.size[3];
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    if (i > 0 && targets[i] < 56 && best >= 0)
      break; /* blocks this small are for windows that fit no other way */
    if (i + 1 < sizeof targets / sizeof *targets && targets[i + 1] >= all)
      continue;
    for (int64_t cuts = 1; cuts <= 4 && (cuts == 1 || p->grid.size[3] / cuts >= 28); cuts *= 2) {
      int64_t block[4];
      block_for(p->grid.size, targets[i], cuts, block);
      if (d->fold)
        block[0] = 1; /* padded positions of one image meet in one task */
      for (int64_t parts = 1; parts <= ck_max(1, p->tiles); parts = parts < 4 ? parts + 1 : parts * 2) {
        set_block(d, &trial, block, parts);
        if (trial.bytes > CK_THREAD_BYTES)
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

ck_dense_plan ck_dense_make_plan(const ck_dense *d, int threads) {
  const ck_kernels *k = d->kernels;
  int64_t taps[3];
  ck_dense_plan p = {0};
  for (int i = 0; i < 3; i++) {
    taps[i] = d->source.axis[i].taps;
    p.grid.size[i + 1] = d->source.axis[i].outputs;
  }
  p.grid.size[0] = d->n;
  p.reduction = ck_reduction_make(d->channels, taps, ck_kblock_cap(k));
  p.tile_lanes = d->flavour == CK_BY_GROUP || d->lanes <= k->vector ? k->vector : 2 * k->vector;
  if (d->flavour == CK_BY_CHANNEL)
    p.tile_lanes = ck_max(1, ck_min(d->lanes, k->max_height));
  p.outer = d->flavour == CK_BY_GROUP ? ck_ceil_div(d->groups, k->vector) : d->groups;
  p.tiles = d->flavour == CK_BY_GROUP ? d->lanes : ck_ceil_div(d->lanes, p.tile_lanes);
  int64_t all = p.grid.size[0] * p.grid.size[1] * p.grid.size[2] * p.grid.size[3];
  if (all > 0)
    choose_block(d, &p, threads);
  return p;
}

/* ---------------------------------------------------------------- run */

typedef struct ck_block {
  const ck_dense *d;
  const ck_dense_plan *p;
  ck_buffers b;
  ck_box box;
  int64_t outer, pixels;
  ck_worker *worker;
} ck_block;

/* A tile's place: its lanes, how many, and where they begin in weights, output and bias. */
typedef struct ck_tile {
  int64_t lanes, ld, w_lane, dst_lane, bias_lane;
  const char *w, *bias;
  char *dst;
} ck_tile;

static ck_tile tile_at(const ck_dense *d, const ck_dense_plan *p, int64_t outer, int64_t tile) {
  int64_t vector = d->kernels->vector, first, group, lane;
  ck_tile t = {.ld = p->tile_lanes};
  if (d->flavour == CK_BY_GROUP) {
    group = outer * vector;
    lane = tile;
    first = group * d->lanes + tile;
    t.lanes = ck_min(vector, d->groups - group);
    t.w_lane = d->w_group;
    t.dst_lane = d->lanes * d->dst.stride[1];
    t.bias_lane = d->lanes * d->bias_stride;
  } else {
    group = outer;
    lane = tile * p->tile_lanes;
    first = group * d->lanes + lane;
    t.lanes = ck_min(p->tile_lanes, d->lanes - lane);
    t.w_lane = d->w_lane;
    t.dst_lane = d->dst.stride[1];
    t.bias_lane = d->bias_stride;
  }
  if (d->flavour == CK_BY_CHANNEL)
    t.ld = t.lanes;
  else if (t.lanes <= vector)
    t.ld = vector;
  t.w = d->w + group * d->w_group + lane * d->w_lane;
  t.dst = (char *)d->dst.data + first * d->dst.stride[1];
  t.bias = d->bias ? d->bias + first * d->bias_stride : NULL;
  return t;
}

static int pack_weights(const ck_block *b, const ck_tile *t, const ck_kblock *kb) {
  ck_pack pack = {
      .panel = b->b.panel,
      .src = t->w + kb->channel * b->d->w_channel,
      .src_end = b->d->w_end,
      .ld = t->ld,
      .lanes = t->lanes,
      .lane_stride = t->w_lane,
      .nc = kb->channels,
      .c_stride = b->d->w_channel,
      .nt = kb->taps[0] * kb->taps[1] * kb->taps[2],
      .t_off = b->b.w_off,
  };
  for (int d = 0; d < 3; d++)
    pack.src += kb->tap[d] * b->d->w_tap[d];
  return b->d->kernels->pack(&pack);
}

/* How far the lanes run by channel: over whole planes of the window, the padding between rows included, where that is
 * little; else row by row. Sets the step from one output row to the next in a run. */
static int64_t run_length(const ck_block *b, int64_t *rows, int64_t *step) {
  const ck_window *w = &b->b.window;
  int64_t ny = b->box.size[2], nx = b->box.size[3], adjacent = ny == 1 || w->axis_output[1][1] == 1;
  int whole = adjacent && w->extent[2] * 4 <= nx * 5;
  *rows = whole ? ny : 1;
  *step = whole ? w->extent[2] : nx;
  return whole ? (ny - 1) * w->extent[2] + nx : nx;
}

static int64_t run_count(const ck_block *b, int64_t rows) {
  return b->box.size[0] * b->box.size[1] * b->box.size[2] / rows;
}

static void multiply_by_channel(ck_block *b, const ck_tile *t, int64_t k, char *acc, int accumulate, int nonfinite) {
  const ck_kernels *kernels = b->d->kernels;
  int64_t rows, step, run = run_length(b, &rows, &step), item = kernels->real_size;
  int64_t runs = run_count(b, rows), ldc = runs * run, wide = kernels->lane_vectors[t->lanes] * kernels->vector;
  for (int64_t r = 0; r < runs; r++) {
    int32_t at = b->b.ro[r * rows * b->box.size[3]];
    if (nonfinite && b->b.window.padded) {
      int32_t same[CK_MAX_HEIGHT];
      for (int64_t i = 0; i < t->lanes; i++)
        same[i] = at;
      ck_plain plain = {.k = k, .height = t->lanes, .lanes = run, .s_lane = 1, .ld = t->lanes, .panel_row = 1,
                        .ldc = ldc, .panel = b->b.panel, .c = acc + r * run * item, .ko = b->b.ko, .ro = same,
                        .accumulate = accumulate};
      ck_window_validity(&b->b.window, &plain);
      kernels->plain(&plain);
      continue;
    }
    for (int64_t o = 0; o < run; o += wide)
      kernels->lanes[t->lanes](k, (char *)b->b.window.data + (at + o) * item, b->b.ko, b->b.panel, acc + (r * run + o) * item,
                               ldc, ck_min(wide, run - o), accumulate);
  }
}

static void multiply(ck_block *b, const ck_tile *t, int64_t k, char *acc, int accumulate, int nonfinite) {
  const ck_kernels *kernels = b->d->kernels;
  int by_group = b->d->flavour == CK_BY_GROUP;
  if (b->d->flavour == CK_BY_CHANNEL) {
    multiply_by_channel(b, t, k, acc, accumulate, nonfinite);
    return;
  }
  if (nonfinite && b->b.window.padded) {
    ck_plain plain = {.k = k, .height = b->pixels, .lanes = t->ld, .s_lane = by_group, .ld = t->ld,
                      .panel_lane = 1, .ldc = t->ld, .panel = b->b.panel, .c = acc, .ko = b->b.ko, .ro = b->b.ro,
                      .accumulate = accumulate};
    ck_window_validity(&b->b.window, &plain);
    kernels->plain(&plain);
    return;
  }
  const ck_rows_fn *table = by_group ? kernels->depth : kernels->rows[t->ld > kernels->vector];
  int64_t panels = ck_ceil_div(b->pixels, kernels->max_height);
  for (int64_t i = 0; i < panels; i++) {
    int64_t first = ck_panel_start(b->pixels, panels, i);
    int64_t height = ck_panel_start(b->pixels, panels, i + 1) - first;
    table[height](k, b->b.window.data, b->b.ko, b->b.ro + first, b->b.panel, acc + first * t->ld * kernels->real_size,
                  accumulate);
  }
}

static void load_bias(const ck_block *b, const ck_tile *t) {
  static const int64_t zero = 0;
  ck_pack pack = {.panel = b->b.bias, .src = t->bias, .src_end = t->bias, .ld = t->ld, .lanes = t->lanes,
                  .lane_stride = t->bias_lane, .nc = 1, .nt = 1, .t_off = &zero};
  b->d->kernels->pack(&pack);
}

/* How accumulators lie in scratch; image, plane, row and pixel in bytes. */
typedef struct ck_layout {
  int64_t c_pixel, c_lane, image, plane, row, pixel;
  int adjacent; /* all pixels follow each other */
} ck_layout;

static ck_layout layout_of(const ck_block *b, const ck_tile *t) {
  const int64_t *size = b->box.size, item = b->d->kernels->real_size;
  ck_layout in = {.c_pixel = t->ld, .c_lane = 1, .row = size[3], .plane = size[2] * size[3], .adjacent = 1};
  if (b->d->flavour == CK_BY_CHANNEL) {
    int64_t rows, step, run = run_length(b, &rows, &step), runs = run_count(b, rows);
    in = (ck_layout){.c_pixel = 1, .c_lane = runs * run, .row = step, .plane = size[2] / rows * run};
    in.adjacent = step == size[3];
  }
  in.pixel = in.c_pixel * item;
  in.row *= in.pixel;
  in.plane *= in.pixel;
  in.image = size[1] * in.plane;
  return in;
}

/* Adds each padded position of an image into the source that it repeats. */
static void drain_folded(const ck_block *b, ck_drain *drain, const ck_layout *in, const char *acc, char *image) {
  const ck_dense *d = b->d;
  int64_t at[3], offset[3];
  for (at[0] = 0; at[0] < b->box.size[1]; at[0]++) {
    for (at[1] = 0; at[1] < b->box.size[2]; at[1]++) {
      for (at[2] = 0; at[2] < b->box.size[3]; at[2]++) {
        for (int i = 0; i < 3; i++) {
          int64_t padded = d->fold_first[i] + (b->box.first[i + 1] + at[i]) * d->fold_step[i];
          offset[i] = ck_map_axis(padded, d->fold_size[i], d->fold) * d->dst.stride[i + 2];
        }
        drain->c = acc + at[0] * in->plane + at[1] * in->row + at[2] * in->pixel;
        drain->dst = image + offset[0] + offset[1] + offset[2];
        d->kernels->drain(drain);
      }
    }
  }
}

/* Stores a tile, in runs of pixels as long as scratch and the output's strides let them be. */
static void drain_tile(const ck_block *b, const ck_tile *t, const char *acc) {
  const ck_dense *d = b->d;
  const int64_t *stride = d->dst.stride, *size = b->box.size, *first = b->box.first;
  ck_layout in = layout_of(b, t);
  int64_t run = size[3], whole = 3; /* axes from `whole` on are one run */
  while (whole > 1 && in.adjacent && (size[whole - 1] == 1 || stride[whole] == run * stride[4]))
    run *= size[--whole];
  ck_drain drain = {.c_pixel = in.c_pixel, .c_lane = in.c_lane, .count = d->fold ? 1 : run, .lanes = t->lanes,
                    .dst_pixel = stride[4], .dst_lane = t->dst_lane, .bias = t->bias ? b->b.bias : NULL,
                    .activation = d->activation, .a = d->act_a, .b = d->act_b, .add = d->fold != 0};
  if (t->bias)
    load_bias(b, t);
  for (int64_t n = 0; n < size[0]; n++) {
    char *image = t->dst + (first[0] + n) * stride[0];
    if (d->fold) {
      drain_folded(b, &drain, &in, acc + n * in.image, image);
      continue;
    }
    image += first[1] * stride[2] + first[2] * stride[3] + first[3] * stride[4];
    for (int64_t z = 0; z < (whole > 1 ? size[1] : 1); z++) {
      for (int64_t y = 0; y < (whole > 2 ? size[2] : 1); y++) {
        drain.c = acc + n * in.image + z * in.plane + y * in.row;
        drain.dst = image + z * stride[2] + y * stride[3];
        d->kernels->drain(&drain);
      }
    }
  }
}

static void weight_offsets(const ck_block *b, const ck_kblock *kb) {
  int64_t *off = b->b.w_off, at[3];
  for (at[0] = 0; at[0] < kb->taps[0]; at[0]++)
    for (at[1] = 0; at[1] < kb->taps[1]; at[1]++)
      for (at[2] = 0; at[2] < kb->taps[2]; at[2]++)
        *off++ = at[0] * b->d->w_tap[0] + at[1] * b->d->w_tap[1] + at[2] * b->d->w_tap[2];
}

static void run_kblock(ck_block *b, int64_t index, int64_t tile, int64_t tile_end, int last) {
  const ck_dense *d = b->d;
  const ck_source *s = &d->source;
  ck_kblock kb = ck_reduction_block(&b->p->reduction, index);
  int by_group = d->flavour == CK_BY_GROUP;
  int64_t channel = b->outer * (by_group ? d->kernels->vector : 1) * d->channels;
  int64_t lanes = by_group ? ck_min(d->kernels->vector, d->groups - b->outer * d->kernels->vector) : 0;
  ck_window_fill(&b->b.window, &b->box, &kb, channel * s->tensor.stride[1], channel * s->act_y.stride[1], lanes);
  ck_window_output_offsets(&b->b.window, b->b.ro);
  ck_window_tap_offsets(&b->b.window, b->b.ko);
  weight_offsets(b, &kb);
  int64_t k = kb.channels * kb.taps[0] * kb.taps[1] * kb.taps[2];
  int kept = ck_reduction_count(&b->p->reduction) > 1;
  int64_t rows = d->flavour == CK_BY_CHANNEL ? b->p->run : b->p->pixels;
  int64_t acc_step = kept ? rows * b->p->tile_lanes * d->kernels->real_size : 0;
  char *acc = b->b.acc;
  for (; tile < tile_end && !ck_stopped(b->worker); tile++, acc += acc_step) {
    ck_tile t = tile_at(d, b->p, b->outer, tile);
    int nonfinite = pack_weights(b, &t, &kb);
    multiply(b, &t, k, acc, index > 0, nonfinite);
    if (last)
      drain_tile(b, &t, acc);
  }
}

static void run_block(ck_block *b, int64_t tile, int64_t tile_end) {
  int64_t count = ck_reduction_count(&b->p->reduction);
  b->pixels = ck_box_count(&b->box);
  for (int64_t i = 0; i < count; i++)
    run_kblock(b, i, tile, tile_end, i == count - 1);
  if (count > 0)
    return;
  for (; tile < tile_end; tile++) { /* nothing to sum: the bias alone */
    ck_tile t = tile_at(b->d, b->p, b->outer, tile);
    memset(b->b.acc, 0, (size_t)(b->pixels * t.ld * b->d->kernels->real_size));
    drain_tile(b, &t, b->b.acc);
  }
}

typedef struct ck_dense_call {
  const ck_dense *d;
  ck_dense_plan plan;
} ck_dense_call;

static void dense_task(ck_worker *worker, void *context, int64_t index) {
  const ck_dense_call *call = context;
  const ck_dense_plan *p = &call->plan;
  ck_block b = {.d = call->d, .p = p, .worker = worker};
  ck_arena arena = {.base = worker->scratch};
  place(b.d, p, &arena, &b.b);
  int64_t blocks = ck_grid_count(&p->grid), part = index % p->tile_parts, here = index / p->tile_parts;
  int64_t tile = p->tiles * part / p->tile_parts, tile_end = p->tiles * (part + 1) / p->tile_parts;
  /* A folding task keeps all blocks of its image, which add into the same elements. */
  int64_t each = b.d->fold ? blocks / p->grid.parts[0] : 1;
  b.outer = here / (blocks / each);
  int64_t block = here % (blocks / each) * each;
  for (int64_t i = block; i < block + each && !ck_stopped(worker); i++) {
    b.box = ck_grid_box(&p->grid, i);
    run_block(&b, tile, tile_end);
  }
}

ck_status ck_dense_run(const ck_dense *d, const ck_run *run) {
  ck_dense_call call = {.d = d, .plan = ck_dense_make_plan(d, run->threads)};
  if (call.plan.tasks == 0)
    return CK_OK;
  return ck_parallel(call.plan.tasks, dense_task, &call, run, run->workspace, call.plan.bytes);
}
