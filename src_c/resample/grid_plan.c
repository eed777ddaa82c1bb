#include "grid_plan.h"

enum {
  MOST_BLOCK = 4096,        /* positions whose tables are kept */
  TABLE_BYTES = 256 * 1024, /* of them */
  IMAGE_BYTES = 384 * 1024, /* of the part of an image that is copied: both leave room in a common level 2 of 1 MiB */
  FEW_CHANNELS = 4,         /* taken plane by plane, with positions on the lanes */
  FEW_BANDS = 32,           /* bands of rows that an image may be cut into so that one fits scratch */
  FEW_VECTORS = 4           /* vectors of channels that share one table in the gradient of x */
};

/* Pixels of an image of which parts are copied: the offset of the last, a vector each, is still told from CK_NOWHERE.
 */
#define MOST_PIXELS ((int64_t)1 << 50)

ck_places ck_grid_in(const ck_grid_plan *p, int64_t image) {
  const ck_grid_sample *call = p->call;
  return ck_places_of(&call->x, call->n, call->channels, call->in, p->item, image);
}

ck_places ck_grid_out(const ck_grid_plan *p, int64_t image) {
  const ck_grid_sample *call = p->call;
  return ck_places_of(&call->y, call->n, call->channels, call->out, p->item, image);
}

ck_places ck_grid_coordinates(const ck_grid_plan *p, const ck_tensor *grid, int64_t image) {
  const ck_grid_sample *call = p->call;
  return ck_places_of(grid, call->n, call->axes, call->out, p->item, image);
}

ck_grid_buffers ck_grid_place(const ck_grid_plan *p, ck_arena *arena) {
  const int64_t axis = p->taps * (CK_GRID_CHUNK + p->k->vector), corners = p->corners * p->ld, axes = p->call->axes;
  const int weighted = p->taps > 1, sloped = weighted && p->op == CK_GRID_GRAD_GRID;
  ck_grid_buffers b = {.offset = ck_take(arena, corners * (int64_t)sizeof(int64_t))};
  for (int d = 0; d < 3; d++) {
    b.axis.offset[d] = ck_take(arena, axis * (int64_t)sizeof(int64_t));
    b.axis.weight[d] = weighted ? ck_take(arena, axis * p->item) : NULL;
    b.axis.slope[d] = sloped ? ck_take(arena, axis * p->item) : NULL;
  }
  b.weight = weighted ? ck_take(arena, corners * p->item) : NULL;
  b.slope = sloped ? ck_take(arena, axes * corners * p->item) : NULL;
  b.image = ck_take(arena, p->image_most * p->vector_bytes);
  b.values = ck_take(arena, (p->op == CK_GRID_SAMPLE ? CK_GRID_CHUNK : p->ld) * p->vector_bytes);
  b.sums = ck_take(arena, sloped ? axes * p->ld * p->vector_bytes : 0);
  return b;
}

/* Bytes of tables, values and sums that one position takes. */
static int64_t position_bytes(const ck_grid_plan *p) {
  const int64_t tables = p->op == CK_GRID_GRAD_GRID ? 1 + p->call->axes : 1;
  int64_t bytes = p->corners * (int64_t)sizeof(int64_t);
  if (p->taps > 1)
    bytes += p->corners * p->item * tables;
  return bytes + (p->op == CK_GRID_SAMPLE ? 0 : tables * p->vector_bytes);
}

/* Positions in blocks as large as the tables have room for, channels in parts, so that each thread has a few tasks.
 * Channels first: blocks that each read most of the image would copy it as often as they are many. */
static void cut_positions(ck_grid_plan *p) {
  const int64_t n = ck_max(1, p->call->n), wanted = 4 * (int64_t)p->call->run.threads;
  int64_t most = p->block;
  if (p->op == CK_GRID_SAMPLE && !p->adjacent)
    p->parts = ck_max(1, ck_min(p->vectors, ck_ceil_div(wanted, n * ck_max(1, p->blocks))));
  most = ck_min(most, ck_max(CK_GRID_CHUNK, ck_ceil_div(p->out.count, ck_ceil_div(wanted, n * p->parts))));
  p->blocks = ck_ceil_div(p->out.count, most);
  p->block = ck_ceil_div(p->out.count, ck_max(1, p->blocks));
}

/* The gradient of x is summed in scratch where an image, perhaps in bands, fits it. Few channels go to one task, in
 * bands enough for the threads. */
static void cut_image(ck_grid_plan *p) {
  const int64_t n = ck_max(1, p->call->n), threads = p->call->run.threads;
  const int64_t rows = p->call->in[3 - p->call->axes], row = p->in.count / rows;
  const int64_t most = IMAGE_BYTES / p->vector_bytes, fit = most / row; /* rows of one vector of channels */
  p->staged = !p->few && !p->adjacent && fit > 0 && ck_ceil_div(rows, fit) <= FEW_BANDS;
  const int64_t groups = p->few ? 1 : ck_max(1, p->vectors);
  p->bands = ck_max(p->staged ? ck_ceil_div(rows, fit) : 1, ck_ceil_div(threads, n * groups));
  p->bands = ck_min(p->bands, rows);
  const int64_t band = ck_ceil_div(rows, p->bands) * row;
  const int64_t together = ck_min(FEW_VECTORS, p->staged ? most / band : FEW_VECTORS);
  p->parts = ck_max(ck_ceil_div(p->vectors, together), ck_ceil_div(2 * threads, n * p->bands));
  p->parts = ck_max(1, ck_min(groups, p->parts));
  p->image_most = p->staged ? ck_ceil_div(p->vectors, p->parts) * band : 0;
}

ck_grid_plan ck_grid_plan_make(const ck_grid_sample *call, ck_grid_op op) {
  ck_grid_plan p = {.call = call, .k = call->kernels, .op = op, .parts = 1, .bands = 1};
  p.item = p.k->real_size;
  p.vector_bytes = p.k->vector * p.item;
  p.vectors = ck_ceil_div(call->channels, p.k->vector);
  p.taps = ck_sampling_taps(call->sampling);
  p.corners = p.taps * p.taps * (call->axes == 3 ? p.taps : 1);
  p.in = ck_grid_in(&p, 0);
  p.out = ck_grid_out(&p, 0);
  p.few = call->channels <= FEW_CHANNELS;
  p.adjacent = call->channels > 1 && call->x.stride[1] == p.item;
  p.block = ck_min(MOST_BLOCK, ck_max(CK_GRID_CHUNK, TABLE_BYTES / position_bytes(&p)));
  p.blocks = ck_ceil_div(p.out.count, p.block);
  if (op == CK_GRID_GRAD_X) {
    cut_image(&p);
    p.block = ck_min(CK_GRID_CHUNK, p.out.count); /* small, for most blocks have nothing for most bands */
  } else {
    const int worth = !p.few && (op == CK_GRID_GRAD_GRID || p.taps > 1);
    p.staged = worth && !p.adjacent && p.in.even && p.in.count <= MOST_PIXELS;
    p.image_most = p.staged ? ck_min(p.in.count, IMAGE_BYTES / p.vector_bytes) : 0;
    cut_positions(&p);
  }
  p.ld = ck_round_up(p.block, p.k->vector) + p.k->vector;
  for (int d = 2; d >= 0; d--)
    p.unit[d] = !p.staged ? call->x.stride[d + 2] : d == 2 ? p.vector_bytes : p.unit[d + 1] * call->in[d + 1];
  ck_arena count = {0};
  ck_grid_place(&p, &count);
  p.bytes = count.used;
  return p;
}
