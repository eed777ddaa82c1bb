/* The textbook route: columns written out, tile by tile.
 *
 * cols[n][c * taps + t][o] = x[n][c][o * stride + t * dilation - pad].  Forward convolution and the gradient of weight
 * are then plain matrix products, which ck_dense and ck_conv_grad_weight do when the window's order is CK_COLUMNS; here
 * they are what the user gets. Their adjoint, and the gradient of x, is col2im.c.
 */
#include "im2col.h"

#include "base/parallel.h"
#include "conv_dense.h"

/* A tile of columns: a box of outputs, a block of (channel, tap) rows; sizes set by hand. */
enum { TILE_OUTPUTS = 256, TILE_ROWS = 256 };

typedef struct col_plan {
  const ck_conv *call;
  const ck_kernels *k;
  ck_source x;
  ck_grid grid;
  ck_reduction rows; /* (channel, tap) */
  ck_window_size size;
  int64_t bytes;
} col_plan;

static col_plan make_plan(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  const int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]};
  col_plan p = {.call = call, .k = call->kernels, .x = ck_conv_x_source(call, 0, 0)};
  int64_t block[4];
  ck_row_block(size, TILE_OUTPUTS, 1, block);
  block[0] = 1;
  p.x.order = CK_COLUMNS;
  p.grid = ck_grid_make(size, block);
  p.rows = ck_reduction_make(s->c_in, s->kernel, TILE_ROWS);
  p.size = ck_window_size_of(&p.grid, &p.rows);
  ck_window window;
  ck_arena count = {0};
  ck_window_place(&window, p.k, &p.x, &p.size, &count);
  p.bytes = count.used;
  return p;
}

typedef struct col_tile {
  const col_plan *p;
  ck_window x;
  ck_box box;
} col_tile;

/* `count` rows of the window, from `row` on, to the user's columns: run after run of adjacent outputs of
 * the box. */
static void store_rows(const col_tile *t, int64_t row, int64_t column, int64_t count) {
  const ck_conv_shape *s = &t->p->call->shape;
  const ck_tensor *cols = &t->p->call->y;
  const int64_t item = t->p->k->real_size, step = t->x.plane / ck_taps_of(t->x.kblock.taps), length = t->box.size[3];
  char *scratch = (char *)t->x.data + row * step * item;
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
      t->p->k->drain(&drain);
    }
  }
}

/* All (channel, tap) rows of a block: those of taps along the innermost axis are neighbours among the columns, too. */
static void store_block(const col_tile *t, const ck_kblock *kb) {
  const int64_t *kernel = t->p->call->shape.kernel;
  int64_t row = 0;
  for (int64_t c = kb->channel; c < kb->channel + kb->channels; c++) {
    for (int64_t z = kb->tap[0]; z < kb->tap[0] + kb->taps[0]; z++) {
      for (int64_t y = kb->tap[1]; y < kb->tap[1] + kb->taps[1]; y++, row += kb->taps[2])
        store_rows(t, row, ((c * kernel[0] + z) * kernel[1] + y) * kernel[2] + kb->tap[2], kb->taps[2]);
    }
  }
}

static void im2col_task(ck_worker *worker, void *context, int64_t index) {
  const col_plan *p = context;
  col_tile t = {.p = p};
  const int64_t rows = ck_reduction_count(&p->rows);
  const ck_kblock kb = ck_reduction_block(&p->rows, index % rows);
  t.box = ck_grid_box(&p->grid, index / rows);
  ck_arena arena = {.base = worker->scratch};
  ck_window_place(&t.x, p->k, &p->x, &p->size, &arena);
  ck_window_fill(&t.x, &t.box, &kb, 0, 0);
  store_block(&t, &kb);
}

ck_status ck_im2col(const ck_conv *call, int64_t *bytes) {
  col_plan p = make_plan(call);
  if (bytes) {
    *bytes = call->run.threads * p.bytes;
    return CK_OK;
  }
  return ck_parallel(ck_grid_count(&p.grid) * ck_reduction_count(&p.rows), im2col_task, &p, &call->run,
                     call->run.workspace, p.bytes);
}
