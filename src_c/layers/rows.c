/* Rows of (n, c, l) arrays, a vector of them at a time. */
#include "base/dispatch.h"
#include "base/geometry.h"
#include "base/parallel.h"

enum { TASK = 1 << 14 }; /* values of a task, about */

typedef struct row_call {
  const ck_rows *call;
  ck_row_tile tile;     /* what all have */
  int64_t vector, each; /* rows of a tile; tiles of a task */
  int64_t tiles;        /* of what rows are counted in: all, or with `planes` those of one n */
  int planes;
} row_call;

static char *row_at(const row_call *p, const ck_strided *array, int64_t n, int64_t row) {
  const int64_t l = p->call->l;
  return p->planes ? (char *)array->data + n * array->stride[0] + row * array->stride[2]
                   : (char *)array->data + row / l * array->stride[0] + row % l * array->stride[2];
}

static void run_tile(const row_call *p, int64_t n, int64_t first, int64_t rows) {
  ck_row_tile tile = p->tile;
  tile.rows = rows;
  for (int64_t i = 0; i < rows; i++) {
    tile.x[i] = row_at(p, &p->call->x, n, first + i);
    tile.y[i] = p->call->y.data ? row_at(p, &p->call->y, n, first + i) : NULL;
  }
  if (p->call->op == CK_CROSS_ENTROPY) {
    const int64_t row = (p->planes ? n * p->call->l : 0) + first;
    tile.labels = p->call->labels + row;
    tile.losses = (char *)p->call->losses + row * p->call->kernels->real_size;
  }
  p->call->kernels->row_tile(&tile);
}

/* What is left of a plane, less than a vector, overlaps the tile before, whose task it is. */
static void run_task(ck_worker *worker, void *context, int64_t index) {
  const row_call *p = context;
  const int64_t tasks = ck_ceil_div(p->tiles, p->each), n = index / tasks, first = index % tasks * p->each;
  const int64_t end = ck_min(p->tiles, first + p->each), all = p->planes ? p->call->l : p->call->n * p->call->l;
  for (int64_t i = first; i < end && !ck_stopped(worker); i++)
    run_tile(p, n, i * p->vector, ck_min(p->vector, all));
  if (end == p->tiles && all > p->tiles * p->vector)
    run_tile(p, n, all - p->vector, p->vector);
}

ck_status ck_rows_run(const ck_rows *call) {
  const int64_t item = call->kernels->real_size;
  row_call p = {.call = call, .vector = call->kernels->vector};
  p.tile = (ck_row_tile){.op = call->op,
                         .x_along = call->c == 1 || call->x.stride[1] == item,
                         .y_along = call->c == 1 || (call->y.data ? call->y : call->x).stride[1] == item,
                         .c = call->c,
                         .x_step = call->x.stride[1],
                         .y_step = call->y.stride[1],
                         .scale = call->scale,
                         .bias = call->bias,
                         .epsilon = call->epsilon,
                         .factor = call->factor,
                         .least = call->least,
                         .before = call->before,
                         .after = call->after,
                         .quarters = call->quarters};
  p.planes = !p.tile.x_along || !p.tile.y_along;
  p.tiles = ck_max(1, (p.planes ? call->l : call->n * call->l) / p.vector);
  p.each = ck_max(1, TASK / (p.vector * call->c));
  return ck_parallel((p.planes ? call->n : 1) * ck_ceil_div(p.tiles, p.each), run_task, &p, &call->run, NULL, 0);
}
