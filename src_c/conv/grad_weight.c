/* The gradient of weight and bias: dW[lane][c][t] = sum over pixels of g[lane][pixel] * x[c][pixel * stride + t].
 *
 * The rows of the micro-kernel are (channel, tap) pairs of the staged window of x, its k are pixels, its lanes the
 * output channels of the gradient, transposed chunk by chunk.  Tasks are disjoint tiles of dW that run over all chunks
 * in order: no partial sums, any number of threads.  Only where dW is too small to share out, pixels are cut into a few
 * segments by shape alone, whose sums are kept apart and added in order. */
#include "grad_weight.h"

#include <string.h>

#include "base/memo.h"
#include "base/parallel.h"
#include "conv_dense.h"
#include "dense/multiply.h"

enum {
  CHUNK_PIXELS = 512,    /* one chain of multiply-adds: 448 to 784 measured alike, 224 3 % less */
  FEW_TILES = 32,        /* fewer register tiles in dW than this: cut the pixels */
  SEGMENT_PIXELS = 4096, /* at least, in a segment */
  MAX_SEGMENTS = 16,
  PARTIAL_BYTES = 1024 * 1024,
};

typedef struct gw_plan {
  const ck_conv *call;
  const ck_kernels *k;
  ck_source source;
  int transposed; /* then x is the gradient, with the activation, and y the input */
  ck_grid chunks;
  ck_reduction rows; /* dW's (channel, tap) pairs, cut into blocks */
  ck_window_size window;
  int depthwise;
  int64_t outer, tiles, ld, row_parts, tile_parts, part_tiles, max_rows, pixels, segments;
  int64_t tasks, bytes, partial; /* scratch for each thread; elements of one task's partial sums */
} gw_plan;

typedef struct gw_buffers {
  ck_window window;
  char *acc, *chain, *g, *y;
  int32_t *output, *tap;
  ck_row_panel *panels, *few_panels; /* of all rows, and of some */
  int64_t *x_off, *y_off;
} gw_buffers;

static void place(const gw_plan *p, ck_arena *arena, gw_buffers *b) {
  const int64_t item = p->k->real_size;
  ck_window_place(&b->window, p->k, &p->source, &p->window, arena);
  b->acc = ck_take(arena, p->partial * item);
  b->chain = ck_take(arena, p->max_rows * p->ld * item);
  b->g = ck_take(arena, p->pixels * p->ld * item);
  b->y = ck_take(arena, p->call->activation && !p->transposed ? p->pixels * p->ld * item : 0);
  b->output = ck_take(arena, p->pixels * (int64_t)sizeof(int32_t));
  b->tap = ck_take(arena, p->max_rows * (int64_t)sizeof(int32_t));
  b->panels = ck_take(arena, ck_row_panel_count(p->k, p->max_rows) * (int64_t)sizeof(ck_row_panel));
  b->few_panels = ck_take(arena, ck_row_panel_count(p->k, p->max_rows) * (int64_t)sizeof(ck_row_panel));
  b->x_off = ck_take(arena, p->window.outputs[3] * (int64_t)sizeof(int64_t));
  b->y_off = ck_take(arena, p->window.outputs[3] * (int64_t)sizeof(int64_t));
}

/* ---------------------------------------------------------------- plan */

static void set_rows(gw_plan *p, int64_t cap, int64_t tile_parts) {
  ck_kblock largest;
  p->rows = ck_reduction_make(p->rows.channels, p->rows.taps, cap);
  largest = ck_reduction_largest(&p->rows);
  p->row_parts = ck_max(1, ck_reduction_count(&p->rows)); /* the bias needs one even where dW is empty */
  p->window.channels = largest.channels;
  p->max_rows = largest.channels;
  for (int d = 0; d < 3; d++) {
    p->window.taps[d] = largest.taps[d];
    p->max_rows *= largest.taps[d];
  }
  p->tile_parts = tile_parts;
  p->part_tiles = ck_ceil_div(p->tiles, tile_parts);
  p->partial = (p->max_rows + 1) * p->ld * p->part_tiles; /* a last row holds the bias's sums */
  p->tasks = p->segments * p->outer * p->row_parts * p->tile_parts;
  gw_buffers b;
  ck_arena count = {0};
  place(p, &count, &b);
  p->bytes = count.used;
}

/* In cycles, up to a factor; ranks the ways to cut dW. */
static double task_cost(const gw_plan *p) {
  double pixels = (double)p->chunks.size[0] * (double)p->chunks.size[1] * (double)p->chunks.size[2] *
                  (double)p->chunks.size[3] / (double)p->segments;
  double tiles = (double)p->part_tiles, panels = (double)ck_ceil_div(p->max_rows, p->k->max_height);
  double window = (double)ck_window_elements(p->k, &p->source, &p->window);
  return pixels * tiles * ((double)p->max_rows + panels + 12) + 0.3 * window * pixels / (double)ck_max(1, p->pixels) +
         4.0 * (double)p->max_rows * tiles + 2000;
}

static void choose_tile(gw_plan *p, const ck_run *run) {
  gw_plan trial = *p;
  double best = -1;
  int64_t all = ck_max(1, p->rows.channels * p->rows.taps[0] * p->rows.taps[1] * p->rows.taps[2]);
  for (int64_t cut = 1; cut <= all && (best < 0 || trial.tasks <= 8 * run->threads);
       cut = cut < 4 ? cut + 1 : cut + cut / 2) {
    for (int64_t parts = 1; parts <= ck_max(1, p->tiles); parts = parts < 4 ? parts + 1 : parts * 2) {
      set_rows(&trial, ck_ceil_div(all, cut), parts);
      if (trial.bytes > ck_thread_bytes(run, CK_THREAD_BYTES) && cut < all)
        continue;
      double time = (double)ck_ceil_div(trial.tasks, run->threads) * task_cost(&trial);
      if (best < 0 || time < best) {
        best = time;
        *p = trial;
      }
    }
  }
  if (best < 0)
    set_rows(p, 1, ck_max(1, p->tiles));
}

static int64_t count_segments(const gw_plan *p, int64_t rows, int64_t pixels) {
  int64_t height_tiles = ck_ceil_div(rows, p->k->max_height), most = ck_min(MAX_SEGMENTS, pixels / SEGMENT_PIXELS);
  int64_t bytes = p->outer * p->tiles * (rows + 1) * p->ld * p->k->real_size;
  if (bytes == 0 || bytes > PARTIAL_BYTES || p->outer * p->tiles * height_tiles >= FEW_TILES)
    return 1;
  return ck_max(1, ck_min(most, ck_min(PARTIAL_BYTES / bytes, ck_grid_count(&p->chunks))));
}

static gw_plan fresh_plan(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  gw_plan p = {.call = call, .k = call->kernels, .depthwise = ck_conv_is_direct(call), .transposed = transposed};
  int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]}, block[4], room = CHUNK_PIXELS, vector = p.k->vector;
  for (int d = 3; d >= 0; d--) { /* whole inner axes, then whole small images */
    block[d] = d == 3 || block[d + 1] == size[d + 1] ? ck_max(1, ck_min(size[d], room)) : 1;
    room = ck_max(1, room / block[d]);
  }
  p.source = ck_conv_x_source(call, transposed, p.depthwise);
  p.chunks = ck_grid_make(size, block);
  p.pixels = 1;
  for (int d = 0; d < 4; d++)
    p.pixels *= p.window.outputs[d] = ck_grid_largest(&p.chunks, d);
  p.ld = p.depthwise || s->c_out <= vector ? vector : 2 * vector;
  p.outer = p.depthwise ? ck_ceil_div(s->groups, vector) : s->groups;
  p.tiles = p.depthwise ? s->c_out : ck_ceil_div(s->c_out, p.ld);
  p.rows.channels = call->weight.data ? s->c_in : 0;
  memcpy(p.rows.taps, s->kernel, sizeof p.rows.taps);
  p.segments = count_segments(&p, p.rows.channels * s->kernel[0] * s->kernel[1] * s->kernel[2],
                              size[0] * size[1] * size[2] * size[3]);
  choose_tile(&p, &call->run);
  return p;
}

/* As ck_dense_make_plan has it. */
static gw_plan make_plan(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  const int64_t words[] = {(int64_t)(uintptr_t)call->kernels,
                           s->n,
                           s->groups,
                           s->c_in,
                           s->c_out,
                           s->padding_mode,
                           call->algorithm,
                           call->activation,
                           call->run.threads,
                           call->run.limit,
                           transposed,
                           call->weight.data != NULL,
                           call->bias != NULL,
                           -1};
  ck_memo_key key = {0};
  gw_plan p;
  ck_key_add_all(&key, words, sizeof words / sizeof *words);
  for (int i = 0; i < 3; i++) {
    const int64_t axis[] = {s->in[i], s->out[i], s->kernel[i], s->stride[i], s->dilation[i], s->pad_lo[i]};
    ck_key_add_all(&key, axis, sizeof axis / sizeof *axis);
  }
  ck_key_add_all(&key, call->x.stride, 5);
  if (!ck_memo_find(&key, &p, sizeof p)) {
    p = fresh_plan(call, transposed);
    ck_memo_keep(&key, &p, sizeof p);
  }
  p.call = call;
  p.source = ck_conv_x_source(call, transposed, p.depthwise);
  return p;
}

_Static_assert(sizeof(gw_plan) <= CK_MEMO_BYTES, "a plan must fit its place");

/* ---------------------------------------------------------------- run */

typedef struct gw_task {
  const gw_plan *p;
  gw_buffers b;
  int64_t segment, outer, row_part, tile, tile_end;
  ck_kblock rows;
  int64_t row_count;
} gw_task;

static gw_task task_at(const gw_plan *p, int64_t index) {
  gw_task t = {.p = p};
  int64_t part = index % p->tile_parts;
  index /= p->tile_parts;
  t.row_part = index % p->row_parts;
  index /= p->row_parts;
  t.outer = index % p->outer;
  t.segment = index / p->outer;
  t.tile = p->tiles * part / p->tile_parts;
  t.tile_end = p->tiles * (part + 1) / p->tile_parts;
  if (ck_reduction_count(&p->rows) > 0)
    t.rows = ck_reduction_block(&p->rows, t.row_part);
  t.row_count = t.rows.channels * t.rows.taps[0] * t.rows.taps[1] * t.rows.taps[2];
  return t;
}

/* The lanes of a tile: the first output channel, the step between neighbouring lanes, and how many. */
static void tile_lanes(const gw_task *t, int64_t tile, int64_t *first, int64_t *step, int64_t *lanes) {
  const ck_conv_shape *s = &t->p->call->shape;
  if (t->p->depthwise) {
    int64_t group = t->outer * t->p->k->vector;
    *first = group * s->c_out + tile;
    *step = s->c_out;
    *lanes = ck_min(t->p->k->vector, s->groups - group);
  } else {
    *first = t->outer * s->c_out + tile * t->p->ld;
    *step = 1;
    *lanes = ck_min(t->p->ld, s->c_out - tile * t->p->ld);
  }
}

int ck_conv_pack_pixels(const ck_conv *call, const ck_tensor *tensor, const ck_box *box, int64_t first, int64_t step,
                        int64_t lanes, int64_t ld, const int64_t *x_off, char *panel) {
  const ck_conv_shape *s = &call->shape;
  const ck_kernels *k = call->kernels;
  const int64_t *stride = tensor->stride;
  int64_t nonfinite = 0, sizes[5] = {s->n, s->groups * s->c_out, s->out[0], s->out[1], s->out[2]};
  ck_pack pack = {.panel = panel,
                  .ld = ld,
                  .lanes = lanes,
                  .lane_stride = step * stride[1],
                  .nc = box->size[2],
                  .c_stride = stride[3],
                  .nt = box->size[3],
                  .t_off = x_off};
  pack.src_end = ck_end(tensor->data, sizes, stride, 5, k->real_size);
  for (int64_t n = 0; n < box->size[0]; n++) {
    for (int64_t z = 0; z < box->size[1]; z++) {
      pack.src = (const char *)tensor->data + first * stride[1] + (box->first[0] + n) * stride[0] +
                 (box->first[1] + z) * stride[2] + box->first[2] * stride[3] + box->first[3] * stride[4];
      nonfinite |= k->pack(&pack);
      pack.panel = (char *)pack.panel + pack.nc * pack.nt * pack.ld * k->real_size;
    }
  }
  return (int)nonfinite;
}

static int pack_gradient(const gw_task *t, const ck_box *box, int64_t tile, char *panel) {
  const ck_conv *call = t->p->call;
  const ck_kernels *k = t->p->k;
  int64_t first, step, lanes, ld = t->p->ld;
  tile_lanes(t, tile, &first, &step, &lanes);
  int nonfinite = ck_conv_pack_pixels(call, &call->y, box, first, step, lanes, ld, t->b.y_off, panel);
  if (call->activation && !t->p->transposed) {
    int64_t count = ck_box_count(box) * t->p->ld;
    nonfinite |= ck_conv_pack_pixels(call, &call->act_y, box, first, step, lanes, ld, t->b.x_off, t->b.y);
    k->activation_gradient(panel, panel, t->b.y, count, call->activation, call->act_a, call->act_b);
  }
  return nonfinite;
}

/* Rows first..first+rows-1 of dW's block over pixels pixel..pixel+k-1 of the chunk. */
static void multiply_rows(const gw_task *t, int64_t first, int64_t rows, int64_t pixel, int64_t k, const char *g,
                          char *total, ck_chain mode) {
  const gw_plan *p = t->p;
  const int64_t row = p->ld * p->k->real_size;
  ck_row_panel *panels = first == 0 && rows == t->row_count ? t->b.panels : t->b.few_panels;
  if (panels == t->b.few_panels)
    ck_row_panels_set(p->k, t->b.tap + first, rows, panels);
  ck_row_product product = {.kernels = p->k,
                            .depth = p->depthwise,
                            .k = k,
                            .rows = rows,
                            .ld = p->ld,
                            .data = t->b.window.data,
                            .ko = t->b.output + pixel,
                            .panels = panels,
                            .panel = g + pixel * row,
                            .chain = mode == CK_GO_ON ? NULL : t->b.chain,
                            .total = total + first * row,
                            .mode = mode};
  ck_multiply_rows(&product);
}

/* A run of pixels that read inside the image for the same taps: the rows of these. */
static void multiply_run(const gw_task *t, const ck_box *run, int64_t pixel, const char *g) {
  const int64_t *taps = t->rows.taps;
  int64_t first[3], end[3];
  for (int i = 0; i < 3; i++) {
    ck_axis_taken(&t->p->source.axis[i], run->first[i + 1], run->size[i + 1], &first[i], &end[i]);
    end[i] = ck_min(first[i] + end[i] - t->rows.tap[i], taps[i]);
    first[i] = ck_max(first[i] - t->rows.tap[i], 0);
  }
  if (first[2] >= end[2])
    return;
  for (int64_t c = 0; c < t->rows.channels; c++)
    for (int64_t z = first[0]; z < end[0]; z++)
      for (int64_t y = first[1]; y < end[1]; y++)
        multiply_rows(t, ((c * taps[0] + z) * taps[1] + y) * taps[2] + first[2], end[2] - first[2], pixel, run->size[3],
                      g, t->b.chain, CK_GO_ON);
}

/* A gradient that is not all finite, where the window holds staged zeros: 0 * Inf would be NaN. Run after run of
 * pixels, the chains going on from one to the next. */
static void multiply_runs(const gw_task *t, ck_worker *worker, const ck_box *box, const char *g, char *acc) {
  const gw_plan *p = t->p;
  ck_box run = {.size = {1, 1, 1, 1}};
  int64_t pixel = 0, elements = t->row_count * p->ld;
  memset(t->b.chain, 0, (size_t)(elements * p->k->real_size));
  for (run.first[0] = box->first[0]; run.first[0] < box->first[0] + box->size[0]; run.first[0]++) {
    for (run.first[1] = box->first[1]; run.first[1] < box->first[1] + box->size[1]; run.first[1]++) {
      for (run.first[2] = box->first[2]; run.first[2] < box->first[2] + box->size[2]; run.first[2]++) {
        int64_t end = box->first[3] + box->size[3];
        for (run.first[3] = box->first[3]; run.first[3] < end && !ck_stopped(worker); run.first[3] += run.size[3]) {
          run.size[3] = ck_axis_alike(&p->source.axis[2], run.first[3], end - run.first[3]);
          multiply_run(t, &run, pixel, g);
          pixel += run.size[3];
        }
      }
    }
  }
  p->k->add(acc, t->b.chain, elements);
}

static void run_chunk(gw_task *t, ck_worker *worker, const ck_box *box) {
  const gw_plan *p = t->p;
  const ck_conv_shape *s = &p->call->shape;
  int64_t pixels = ck_box_count(box), tile_bytes = (p->max_rows + 1) * p->ld * p->k->real_size;
  if (t->row_count) {
    int64_t vector = p->k->vector, channel = t->outer * (p->depthwise ? vector : 1) * s->c_in;
    int64_t lanes = p->depthwise ? ck_min(vector, s->groups - t->outer * vector) : 0;
    if (ck_window_fill(&t->b.window, box, &t->rows, channel * p->source.tensor.stride[1],
                       channel * p->source.act_y.stride[1], lanes)) {
      ck_window_output_offsets(&t->b.window, t->b.output);
      ck_window_tap_offsets(&t->b.window, t->b.tap);
      ck_row_panels_set(p->k, t->b.tap, t->row_count, t->b.panels);
    }
  }
  for (int64_t tile = t->tile; tile < t->tile_end; tile++) {
    char *acc = t->b.acc + (tile - t->tile) * tile_bytes;
    int nonfinite = pack_gradient(t, box, tile, t->b.g);
    if (t->row_count && nonfinite && t->b.window.padded)
      multiply_runs(t, worker, box, t->b.g, acc);
    else if (t->row_count)
      multiply_rows(t, 0, t->row_count, 0, pixels, t->b.g, acc, CK_ADD);
    if (t->row_part == 0 && p->call->bias)
      p->k->column_sums(t->b.g, pixels, p->ld, acc + tile_bytes - p->ld * p->k->real_size);
  }
}

/* Stores one tile: runs of taps as long as dW's strides let them be. */
static void drain_tile(const gw_task *t, int64_t tile, const char *acc) {
  const gw_plan *p = t->p;
  const ck_conv *call = p->call;
  const int64_t *stride = call->weight.stride, *taps = t->rows.taps;
  int64_t first, step, lanes, item = p->k->real_size;
  tile_lanes(t, tile, &first, &step, &lanes);
  if (t->row_part == 0 && call->bias) {
    ck_drain bias = {.c = acc + p->max_rows * p->ld * item,
                     .c_pixel = p->ld,
                     .c_lane = 1,
                     .count = 1,
                     .lanes = lanes,
                     .dst = (char *)call->bias + first * call->bias_stride,
                     .dst_pixel = item,
                     .dst_lane = step * call->bias_stride};
    p->k->drain(&bias);
  }
  if (!t->row_count)
    return;
  int64_t size[4] = {t->rows.channels, taps[0], taps[1], taps[2]}, run = size[3], whole = 3;
  while (whole > 0 && (size[whole - 1] == 1 || stride[whole] == run * stride[4]))
    run *= size[--whole];
  ck_drain drain = {.c = acc,
                    .c_pixel = p->ld,
                    .c_lane = 1,
                    .count = run,
                    .lanes = lanes,
                    .dst_pixel = stride[4],
                    .dst_lane = step * stride[0]};
  char *base = (char *)call->weight.data + first * stride[0] + t->rows.channel * stride[1] +
               t->rows.tap[0] * stride[2] + t->rows.tap[1] * stride[3] + t->rows.tap[2] * stride[4];
  for (int64_t c = 0; c < (whole > 0 ? size[0] : 1); c++) {
    for (int64_t z = 0; z < (whole > 1 ? size[1] : 1); z++) {
      for (int64_t y = 0; y < (whole > 2 ? size[2] : 1); y++) {
        drain.dst = base + c * stride[1] + z * stride[2] + y * stride[3];
        p->k->drain(&drain);
        drain.c = (const char *)drain.c + run * p->ld * item;
      }
    }
  }
}

static void gw_run_task(ck_worker *worker, void *context, int64_t index) {
  const gw_plan *p = context;
  const ck_conv *call = p->call;
  gw_task t = task_at(p, index);
  int64_t bytes = p->partial * p->k->real_size, chunks = ck_grid_count(&p->chunks);
  ck_arena arena = {.base = worker->scratch};
  place(p, &arena, &t.b);
  if (p->segments > 1) /* sums stay in the shared part of the workspace until all are there */
    t.b.acc = (char *)call->run.workspace + index * bytes;
  memset(t.b.acc, 0, (size_t)bytes);
  for (int64_t x = 0; x < p->window.outputs[3]; x++) {
    t.b.y_off[x] = x * call->y.stride[4];
    t.b.x_off[x] = x * call->act_y.stride[4];
  }
  for (int64_t i = chunks * t.segment / p->segments; i < chunks * (t.segment + 1) / p->segments && !ck_stopped(worker);
       i++) {
    ck_box box = ck_grid_box(&p->chunks, i);
    run_chunk(&t, worker, &box);
  }
  for (int64_t tile = t.tile; p->segments == 1 && tile < t.tile_end; tile++)
    drain_tile(&t, tile, t.b.acc + (tile - t.tile) * (p->max_rows + 1) * p->ld * p->k->real_size);
}

/* Adds the segments of one tile, first to last, and stores it. */
static void gw_join_task(ck_worker *worker, void *context, int64_t index) {
  const gw_plan *p = context;
  gw_task t = task_at(p, index);
  int64_t tasks = p->tasks / p->segments, bytes = p->partial * p->k->real_size;
  char *total = (char *)p->call->run.workspace + index * bytes;
  (void)worker;
  for (int64_t s = 1; s < p->segments; s++)
    p->k->add(total, total + s * tasks * bytes, p->partial);
  for (int64_t tile = t.tile; tile < t.tile_end; tile++)
    drain_tile(&t, tile, total + (tile - t.tile) * (p->max_rows + 1) * p->ld * p->k->real_size);
}

/* The transposed convolution's bias belongs to x: it is that of a convolution whose output x is. */
static ck_status transposed_bias(const ck_conv *call, int64_t *bytes) {
  ck_conv sum = *call;
  sum.shape.c_out = call->shape.groups * call->shape.c_in;
  sum.shape.groups = 1;
  sum.shape.c_in = 0;
  sum.y = call->x;
  sum.weight.data = NULL;
  for (int d = 0; d < 3; d++) {
    sum.shape.out[d] = call->shape.in[d];
    sum.shape.kernel[d] = sum.shape.stride[d] = 1; /* far steps to so many outputs would not fit 64 bits */
  }
  return ck_conv_grad_weight(&sum, 0, bytes);
}

ck_status ck_conv_grad_weight(const ck_conv *call, int transposed, int64_t *bytes) {
  ck_conv here = *call;
  ck_status status = CK_OK;
  if (transposed && call->bias) {
    status = transposed_bias(call, bytes);
    here.bias = NULL;
  }
  if (status != CK_OK || (transposed && !call->weight.data))
    return status;
  gw_plan p = make_plan(&here, transposed);
  int64_t shared = p.segments > 1 ? ck_round_up(p.tasks * p.partial * p.k->real_size, 64) : 0;
  if (bytes) {
    *bytes = ck_max(*bytes, shared + call->run.threads * p.bytes);
    return CK_OK;
  }
  if (p.tasks == 0)
    return CK_OK;
  status = ck_parallel(p.tasks, gw_run_task, &p, &call->run, (char *)call->run.workspace + shared, p.bytes);
  if (status == CK_OK && p.segments > 1)
    status = ck_parallel(p.tasks / p.segments, gw_join_task, &p, &call->run, NULL, 0);
  return status;
}
