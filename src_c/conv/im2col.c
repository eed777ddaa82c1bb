/* The textbook route: columns written out, tile by tile.
 *
 * cols[n][c * taps + t][o] = x[n][c][o * stride + t * dilation - pad].  Forward convolution and the gradient of weight
 * are then plain matrix products, which ck_dense and ck_conv_grad_weight do when the window's order is CK_COLUMNS; here
 * are im2col itself, its adjoint col2im, and the gradient of x, which is col2im of the product of weight and gradient.
 */
#include "im2col.h"

#include <string.h>

#include "base/parallel.h"
#include "base/places.h"
#include "conv_dense.h"
#include "dense/multiply.h"

enum { TILE_OUTPUTS = 256, TILE_ROWS = 256 };

/* A tile of columns: a box of outputs, a block of (channel, tap) rows. */
typedef struct col_plan {
  const ck_conv *call;
  const ck_kernels *k;
  ck_source x, g; /* g: the gradient as a convolution's source of one tap */
  ck_grid grid;
  ck_reduction rows, outputs; /* (channel, tap), and the output channels that grad x sums over */
  ck_window_size x_size, g_size;
  int64_t max_rows, bytes;
} col_plan;

typedef struct col_buffers {
  ck_window x, g;
  char *weight, *panel;
  int32_t *ko;
  int64_t *offset;
} col_buffers;

static ck_window_size tile_size(const ck_grid *grid, const ck_reduction *rows) {
  ck_kblock kb = ck_reduction_largest(rows);
  ck_window_size size = {.channels = kb.channels, .taps = {kb.taps[0], kb.taps[1], kb.taps[2]}};
  for (int d = 0; d < 4; d++)
    size.outputs[d] = ck_grid_largest(grid, d);
  return size;
}

/* Of one panel of weights, of so many channels. */
static int64_t panel_bytes(const col_plan *p, int64_t channels) {
  return channels * ck_round_up(p->k->max_height, p->k->vector) * p->k->real_size;
}

static void place(const col_plan *p, ck_arena *arena, col_buffers *b) {
  const int64_t item = p->k->real_size;
  int64_t most = ck_max(p->max_rows, p->g_size.channels);
  ck_window_place(&b->x, p->k, &p->x, &p->x_size, arena);
  if (p->g.tensor.data)
    ck_window_place(&b->g, p->k, &p->g, &p->g_size, arena);
  /* Weights, or all their panels where those are made without. */
  const int64_t rows = p->max_rows * ck_round_up(p->g_size.channels, p->k->vector) * item;
  const int64_t panel = panel_bytes(p, p->g_size.channels);
  b->weight = ck_take(arena, ck_max(rows, ck_row_panel_count(p->k, p->max_rows) * panel));
  b->panel = ck_take(arena, panel);
  b->ko = ck_take(arena, most * (int64_t)sizeof(int32_t));
  b->offset = ck_take(arena, most * (int64_t)sizeof(int64_t));
}

/* Rows of a tile at most: where there are fewer images than threads, as few channels as keep these busy. */
static int64_t row_cap(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  const int64_t parts = ck_ceil_div(call->run.threads, ck_max(1, ck_min(s->n * s->groups, call->run.threads)));
  return ck_max(1, ck_min(TILE_ROWS, ck_ceil_div(s->c_in, parts) * ck_taps_of(s->kernel)));
}

/* with_gradient: the tiles of grad x, whose columns are computed from y; otherwise y holds the columns. */
static col_plan make_plan(const ck_conv *call, int with_gradient, int transposed) {
  const ck_conv_shape *s = &call->shape;
  col_plan p = {.call = call, .k = call->kernels};
  int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]}, one[3] = {1, 1, 1}, block[4];
  ck_row_block(size, TILE_OUTPUTS, 1, block);
  /* Small images are taken together for a gradient of x, whose weights are then packed for all of them, as many as
   * leave an image to each thread. */
  block[0] = with_gradient ? ck_max(1, ck_min(block[0], s->n / ck_max(1, call->run.threads))) : 1;
  p.x = ck_conv_x_source(call, 0, 0);
  p.x.order = CK_COLUMNS;
  p.rows = ck_reduction_make(s->c_in, s->kernel, row_cap(call));
  ck_kblock largest = ck_reduction_largest(&p.rows);
  p.max_rows = ck_kblock_k(&largest);
  if (with_gradient) {
    p.g = ck_conv_y_source(call, !transposed, 0);
    p.g.order = CK_PLANES;
    for (int d = 0; d < 3; d++)
      p.g.axis[d] = (ck_axis){.outputs = s->out[d], .source = s->out[d], .step = 1, .taps = 1, .tap_step = 1};
    p.outputs = ck_reduction_make(s->c_out, one, ck_kblock_cap(p.k));
  }
  for (;; block[0] = (block[0] + 1) / 2) { /* fewer images where scratch would be too large */
    col_buffers b;
    ck_arena count = {0};
    p.grid = ck_grid_make(size, block);
    p.x_size = tile_size(&p.grid, &p.rows);
    if (with_gradient)
      p.g_size = tile_size(&p.grid, &p.outputs);
    place(&p, &count, &b);
    p.bytes = count.used;
    if (block[0] <= 1 || p.bytes <= ck_thread_bytes(&call->run, CK_THREAD_BYTES))
      break;
  }
  return p;
}

typedef struct col_tile {
  const col_plan *p;
  col_buffers b;
  ck_box box;
} col_tile;

/* Elements from one row of the window, the columns of a (channel, tap), to the next. */
static int64_t column_of(const ck_window *w) { return w->plane / ck_taps_of(w->kblock.taps); }

/* `count` rows of the window, from `row` on, to the user's columns, or from there: run after run of adjacent outputs of
 * the box. */
static void move_rows(const col_tile *t, int64_t row, int64_t column, int64_t count, int store) {
  const ck_conv_shape *s = &t->p->call->shape;
  const ck_tensor *cols = &t->p->call->y;
  const int64_t item = t->p->k->real_size, step = column_of(&t->b.x), length = t->box.size[3];
  char *scratch = (char *)t->b.x.data + row * step * item;
  char *base = (char *)cols->data + t->box.first[0] * cols->stride[0] + column * cols->stride[1];
  ck_drain drain = {.c_pixel = 1,
                    .c_lane = step,
                    .count = length,
                    .lanes = count,
                    .dst_pixel = cols->stride[4],
                    .dst_lane = cols->stride[1],
                    .copy = 1};
  for (int64_t z = t->box.first[1]; z < t->box.first[1] + t->box.size[1]; z++) {
    for (int64_t y = t->box.first[2]; y < t->box.first[2] + t->box.size[2]; y++, scratch += length * item) {
      drain.c = scratch;
      drain.dst = base + ((z * s->out[1] + y) * s->out[2] + t->box.first[3]) * cols->stride[4];
      if (store)
        t->p->k->drain(&drain);
      else
        ck_load_rows(t->p->k, scratch, step, drain.dst, cols->stride[1], count, cols->stride[4], length);
    }
  }
}

/* All (channel, tap) rows of a block: those of taps along the innermost axis are neighbours among the columns, too. */
static void move_block(const col_tile *t, const ck_kblock *kb, int store) {
  const int64_t *kernel = t->p->call->shape.kernel;
  int64_t row = 0;
  for (int64_t c = kb->channel; c < kb->channel + kb->channels; c++) {
    for (int64_t z = kb->tap[0]; z < kb->tap[0] + kb->taps[0]; z++) {
      for (int64_t y = kb->tap[1]; y < kb->tap[1] + kb->taps[1]; y++, row += kb->taps[2])
        move_rows(t, row, ((c * kernel[0] + z) * kernel[1] + y) * kernel[2] + kb->tap[2], kb->taps[2], store);
    }
  }
}

/* One tile of im2col: tasks are independent. */
static void im2col_task(ck_worker *worker, void *context, int64_t index) {
  const col_plan *p = context;
  col_tile t = {.p = p};
  int64_t rows = ck_reduction_count(&p->rows);
  ck_kblock kb = ck_reduction_block(&p->rows, index % rows);
  t.box = ck_grid_box(&p->grid, index / rows);
  ck_arena arena = {.base = worker->scratch};
  place(p, &arena, &t.b);
  ck_window_fill(&t.b.x, &t.box, &kb, 0, 0, 0);
  move_block(&t, &kb, 1);
}

/* What adds into the same elements is one task: some images and a block of channels of a group, all outputs and taps.
 */
static int64_t add_back_tasks(const col_plan *p) { return p->grid.parts[0] * p->call->shape.groups * p->rows.parts[0]; }

typedef void (*fill_tile)(col_tile *t, const ck_kblock *kb, int64_t group, ck_worker *worker);

static void add_back(ck_worker *worker, const col_plan *p, int64_t index, fill_tile columns) {
  col_tile t = {.p = p};
  int64_t parts = p->rows.parts[0], taps = ck_reduction_count(&p->rows) / parts, part = index % parts;
  int64_t group = index / parts % p->call->shape.groups, images = index / parts / p->call->shape.groups;
  int64_t boxes = ck_grid_count(&p->grid) / ck_max(1, p->grid.parts[0]);
  ck_arena arena = {.base = worker->scratch};
  place(p, &arena, &t.b);
  for (int64_t i = images * boxes; i < (images + 1) * boxes; i++) {
    t.box = ck_grid_box(&p->grid, i);
    for (int64_t tap = 0; tap < taps && !ck_stopped(worker); tap++) {
      ck_kblock kb = ck_reduction_block(&p->rows, part * taps + tap);
      ck_window_set(&t.b.x, &t.box, &kb);
      columns(&t, &kb, group, worker);
      ck_window_add_back(&t.b.x, group * p->call->shape.c_in * p->call->x.stride[1]);
    }
  }
}

static void load_columns(col_tile *t, const ck_kblock *kb, int64_t group, ck_worker *worker) {
  (void)group, (void)worker;
  move_block(t, kb, 0);
}

static void col2im_task(ck_worker *worker, void *context, int64_t index) {
  add_back(worker, context, index, load_columns);
}

ck_status ck_im2col(const ck_conv *call, int64_t *bytes) {
  col_plan p = make_plan(call, 0, 0);
  if (bytes) {
    *bytes = call->run.threads * p.bytes;
    return CK_OK;
  }
  return ck_parallel(ck_grid_count(&p.grid) * ck_reduction_count(&p.rows), im2col_task, &p, &call->run,
                     call->run.workspace, p.bytes);
}

/* Zeros or the bias first, then sums. */
static ck_status plan_or_add(const ck_conv *call, const col_plan *p, int transposed, ck_task task, int64_t *bytes) {
  ck_status status = ck_conv_start_x(call, transposed, CK_IDENTITY, bytes);
  if (bytes)
    *bytes = ck_max(*bytes, call->run.threads * p->bytes);
  else if (status == CK_OK && ck_grid_count(&p->grid) && ck_reduction_count(&p->rows))
    status = ck_parallel(add_back_tasks(p), task, (void *)p, &call->run, call->run.workspace, p->bytes);
  return status;
}

ck_status ck_col2im(const ck_conv *call, int64_t *bytes) {
  col_plan p = make_plan(call, 0, 0);
  return plan_or_add(call, &p, 0, col2im_task, bytes);
}

/* ---------------------------------------------------------------- gradient of x */

/* panel[k][i] for rows first..first+height of the weight tile [row][ld]: a transpose in scratch. */
static void row_panel(const col_tile *t, int64_t first, int64_t height, int64_t k, int64_t ld) {
  const int64_t item = t->p->k->real_size;
  for (int64_t i = 0; i < k; i++)
    t->b.offset[i] = i * item;
  ck_pack pack = {.panel = t->b.panel,
                  .src = t->b.weight + first * ld * item,
                  .ld = ck_round_up(height, t->p->k->vector),
                  .lanes = height,
                  .lane_stride = ld * item,
                  .nc = 1,
                  .nt = k,
                  .t_off = t->b.offset};
  t->p->k->pack(&pack);
}

/* weight[row = (c, t)][k] of one block of output channels. */
static void weight_tile(const col_tile *t, const ck_kblock *kb, const ck_kblock *out, int64_t group, int64_t ld) {
  const ck_conv *call = t->p->call;
  const int64_t *stride = call->weight.stride, first = group * call->shape.c_out + out->channel;
  int64_t *offset = t->b.offset, sizes[5] = {call->shape.groups * call->shape.c_out, call->shape.c_in,
                                             call->shape.kernel[0], call->shape.kernel[1], call->shape.kernel[2]};
  const char *src = (const char *)call->weight.data + first * stride[0] + kb->channel * stride[1];
  for (int i = 0; i < 3; i++) /* offsets begin with 0, as those of adjacent taps do */
    src += kb->tap[i] * stride[i + 2];
  for (int64_t z = 0; z < kb->taps[0]; z++)
    for (int64_t y = 0; y < kb->taps[1]; y++)
      for (int64_t x = 0; x < kb->taps[2]; x++)
        *offset++ = z * stride[2] + y * stride[3] + x * stride[4];
  ck_pack pack = {.panel = t->b.weight,
                  .ld = ld,
                  .lanes = out->channels,
                  .lane_stride = stride[0],
                  .src = src,
                  .src_end = ck_end(call->weight.data, sizes, stride, 5, t->p->k->real_size),
                  .nc = kb->channels,
                  .c_stride = stride[1],
                  .nt = ck_taps_of(kb->taps),
                  .t_off = t->b.offset};
  t->p->k->pack(&pack);
}

/* Whether the rows of a k-block's columns are neighbours in the weights: then a panel is read where they are. */
static int rows_adjoin(const col_plan *p, const ck_kblock *kb) {
  const int64_t *stride = p->call->weight.stride, *kernel = p->call->shape.kernel;
  int64_t step = p->k->real_size;
  int adjoin = 1;
  for (int i = 2; i >= 0; i--) {
    adjoin &= kb->taps[i] == kernel[i] && (kernel[i] == 1 || stride[i + 2] == step);
    step *= kernel[i];
  }
  return adjoin && (kb->channels == 1 || stride[1] == step);
}

/* All panels[k][i], straight from the weights: of some channels at a time, since those may lie a page apart, and what
 * is adjacent serves several panels. Panel after panel with all channels, 403 to 372 channels with 5x5 taps took as
 * long to pack as to multiply. */
enum { PAGES = 32 };
static void adjoining_panels(const col_tile *t, const ck_kblock *kb, const ck_kblock *out, int64_t group, int64_t rows,
                             int64_t panels) {
  static const int64_t none = 0;
  const ck_conv *call = t->p->call;
  const int64_t *stride = call->weight.stride, item = t->p->k->real_size, vector = t->p->k->vector;
  const int64_t channel = group * call->shape.c_out + out->channel, step = panel_bytes(t->p, out->channels);
  const char *src = (const char *)call->weight.data + channel * stride[0] + kb->channel * stride[1];
  for (int64_t k = 0; k < out->channels; k += PAGES) {
    for (int64_t i = 0; i < panels; i++) {
      const int64_t first = ck_part_start(rows, panels, i), height = ck_part_start(rows, panels, i + 1) - first;
      const int64_t ld = ck_round_up(height, vector);
      ck_pack pack = {.panel = t->b.weight + i * step + k * ld * item,
                      .ld = ld,
                      .lanes = height,
                      .lane_stride = item,
                      .src = src + k * stride[0] + first * item,
                      .nc = ck_min(PAGES, out->channels - k),
                      .c_stride = stride[0],
                      .nt = 1,
                      .t_off = &none};
      t->p->k->pack(&pack);
    }
  }
}

/* columns = transpose(weight) @ gradient, over one block of outputs. */
static void multiply_columns(col_tile *t, const ck_kblock *kb, int64_t group, ck_worker *worker) {
  const col_plan *p = t->p;
  const ck_kernels *k = p->k;
  const ck_conv *call = p->call;
  int64_t rows = ck_kblock_k(kb), column = column_of(&t->b.x);
  int64_t outputs = ck_box_count(&t->box), panels = ck_ceil_div(rows, k->max_height), blocks;
  memset(t->b.x.data, 0, (size_t)(rows * column * k->real_size));
  blocks = ck_reduction_count(&p->outputs);
  const int adjoin = rows_adjoin(p, kb);
  for (int64_t q = 0; q < blocks && !ck_stopped(worker); q++) {
    ck_kblock out = ck_reduction_block(&p->outputs, q);
    int64_t ld = ck_round_up(out.channels, k->vector), channel = group * call->shape.c_out;
    ck_window_fill(&t->b.g, &t->box, &out, channel * call->y.stride[1], channel * call->act_y.stride[1], 0);
    ck_window_tap_offsets(&t->b.g, t->b.ko);
    if (adjoin)
      adjoining_panels(t, kb, &out, group, rows, panels);
    else
      weight_tile(t, kb, &out, group, ld);
    for (int64_t i = 0; i < panels; i++) {
      int64_t first = ck_part_start(rows, panels, i), height = ck_part_start(rows, panels, i + 1) - first;
      if (!adjoin)
        row_panel(t, first, height, out.channels, ld);
      ck_lane_product product = {.kernels = k,
                                 .k = out.channels,
                                 .height = height,
                                 .lanes = outputs,
                                 .ldc = column,
                                 .data = t->b.g.data,
                                 .ko = t->b.ko,
                                 .panel = adjoin ? t->b.weight + i * panel_bytes(p, out.channels) : t->b.panel,
                                 .total = (char *)t->b.x.data + first * column * k->real_size,
                                 .mode = CK_ADD};
      ck_multiply_lanes(&product);
    }
  }
}

static void grad_x_task(ck_worker *worker, void *context, int64_t index) {
  add_back(worker, context, index, multiply_columns);
}

/* The activation of a transposed convolution, once all sums are there: staged, and stored through the drain. */
static void activate_task(ck_worker *worker, void *context, int64_t index) {
  const col_plan *p = context;
  const ck_conv *call = p->call;
  const int64_t *in = call->shape.in, channels = call->shape.groups * call->shape.c_in;
  const int64_t stride = call->x.stride[4], item = p->k->real_size;
  char *row = (char *)call->x.data + index % in[1] * call->x.stride[3] + index / in[1] % in[0] * call->x.stride[2] +
              index / in[1] / in[0] % channels * call->x.stride[1] +
              index / in[1] / in[0] / channels * call->x.stride[0];
  for (int64_t x = 0; x < in[2]; x += TILE_OUTPUTS, row += TILE_OUTPUTS * stride) {
    const int64_t count = ck_min(TILE_OUTPUTS, in[2] - x);
    ck_drain drain = {.c = worker->scratch,
                      .c_pixel = 1,
                      .c_lane = count,
                      .count = count,
                      .lanes = 1,
                      .dst = row,
                      .dst_pixel = stride,
                      .dst_lane = item};
    ck_load_rows(p->k, worker->scratch, 0, row, 0, 1, stride, count);
    p->k->activate(worker->scratch, worker->scratch, count, call->activation, call->act_a, call->act_b);
    p->k->drain(&drain);
  }
}

ck_status ck_im2col_grad_x(const ck_conv *call, int transposed, int64_t *bytes) {
  const ck_conv_shape *s = &call->shape;
  col_plan p = make_plan(call, 1, transposed);
  ck_status status = plan_or_add(call, &p, transposed, grad_x_task, bytes);
  if (bytes || status != CK_OK || !transposed || !call->activation)
    return status;
  return ck_parallel(s->n * s->groups * s->c_in * s->in[0] * s->in[1], activate_task, &p, &call->run,
                     call->run.workspace, p.bytes);
}
