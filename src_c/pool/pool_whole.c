/* Averages of whole planes, in 16 partial sums of every 16th element, row-major, which are added halves to halves.
 *
 * One order for all memory: planes of adjacent elements are read as vectors of neighbours, adjacent channels as vectors
 * of channels, and what is neither is brought together in scratch. */
#include "pool_whole.h"

#include <string.h>

#include "base/arena.h"
#include "base/dispatch.h"
#include "base/parallel.h"
#include "base/places.h"
#include "pool_axis.h"
#include "pool_points.h"

enum {                 /* set by hand */
       PIECE = 2048,   /* elements staged at once */
       LONG = 1 << 20, /* elements from poll to poll */
       TASK_ELEMENTS = 65536,
       LANE_VECTORS = 16, /* adjacent channels that are summed together */
};

typedef struct whole_plan {
  const ck_pool *call;
  const ck_kernels *k;
  int64_t elements, step; /* of a plane; step 0 where its elements are not evenly spaced */
  int lanes;              /* channels are adjacent */
  int64_t unit;           /* channels that are summed together */
  const char *end;
  ck_grid grid; /* images, units */
} whole_plan;

int ck_pool_is_whole(const ck_pool_shape *s) {
  for (int d = 0; d < 3; d++) {
    ck_pool_axis axis = ck_pool_axis_make(s, d, 0);
    if (s->out[d] != 1 || s->in[d] < 1 || ck_pool_divisor(&axis, 0) != s->in[d])
      return 0;
    ck_range window = ck_pool_window(&axis, 0);
    if (window.count != s->in[d])
      return 0;
  }
  return 1;
}

typedef struct whole_buffers {
  char *partial, *average, *piece;
} whole_buffers;

static void place(const ck_kernels *k, ck_arena *arena, whole_buffers *b) {
  b->partial = ck_take(arena, LANE_VECTORS * CK_POOL_PARTIALS * k->vector * k->real_size);
  b->average = ck_take(arena, k->vector * k->real_size);
  b->piece = ck_take(arena, PIECE * k->real_size);
}

int64_t ck_pool_whole_bytes(const ck_pool *call) {
  whole_buffers b;
  ck_arena count = {0};
  place(call->kernels, &count, &b);
  return count.used;
}

static whole_plan make_plan(const ck_pool *call) {
  const ck_pool_shape *s = &call->shape;
  whole_plan p = {.call = call, .k = call->kernels, .elements = s->in[0] * s->in[1] * s->in[2]};
  const int64_t item = p.k->real_size, vl = p.k->vector;
  p.step = ck_pool_even_step(&call->x, s->in);
  if (p.elements == 1)
    p.step = item;
  p.lanes = p.step != item && s->channels > 1 && call->x.stride[1] == item;
  p.end = ck_tensor_end(&call->x, s->n, s->channels, s->in, item);
  p.unit = p.lanes ? LANE_VECTORS * vl : vl;
  int64_t units = ck_ceil_div(s->channels, p.unit), block_units = ck_max(1, TASK_ELEMENTS / p.elements / p.unit);
  while (block_units > 1 && s->n * ck_ceil_div(units, block_units) < 4 * call->run.threads)
    block_units /= 2;
  int64_t size[4] = {s->n, units, 1, 1}, block[4] = {1, block_units, 1, 1};
  p.grid = ck_grid_make(size, block);
  return p;
}

static const char *row_at(const whole_plan *p, int64_t n, int64_t c, int64_t row, int64_t x) {
  const int64_t *s = p->call->x.stride, *in = p->call->shape.in;
  return (const char *)p->call->x.data + n * s[0] + c * s[1] + row / in[1] * s[2] + row % in[1] * s[3] + x * s[4];
}

/* A plane whose elements lie anyhow, piece by piece; pieces hold whole rounds of the partial sums. */
static int sum_scattered(const whole_plan *p, ck_worker *worker, whole_buffers *b, char *partial, int64_t n,
                         int64_t c) {
  const int64_t *in = p->call->shape.in, item = p->k->real_size;
  for (int64_t done = 0; done < p->elements; done += PIECE) {
    int64_t count = ck_min(PIECE, p->elements - done);
    for (int64_t i = 0; i < count;) {
      int64_t x = (done + i) % in[2], length = ck_min(count - i, in[2] - x);
      ck_load_rows(p->k, b->piece + i * item, 0, row_at(p, n, c, (done + i) / in[2], x), 0, 1, p->call->x.stride[4],
                   length);
      i += length;
    }
    p->k->pool_planes(partial, b->piece, 0, 1, count, b->piece + PIECE * item);
    if (ck_stopped_at(worker, done + PIECE, LONG))
      return 0;
  }
  return 1;
}

/* Evenly spaced planes, or rows of them, in calls that are not too long. */
static int sum_run(const whole_plan *p, ck_worker *worker, whole_buffers *b, const char *src, int64_t channels,
                   int64_t step, int64_t phase, int64_t count) {
  for (int64_t done = 0; done < count; done += LONG) {
    int64_t some = ck_min(LONG, count - done);
    if (p->lanes)
      p->k->pool_lane_planes(b->partial, src + done * step, step, some, phase, channels, p->end);
    else
      p->k->pool_planes(b->partial, src + done * step, p->call->x.stride[1], channels, some, p->end);
    if (count > LONG && ck_stopped(worker))
      return 0;
  }
  return 1;
}

static int sum_channels(const whole_plan *p, ck_worker *worker, whole_buffers *b, int64_t n, int64_t c,
                        int64_t channels) {
  const int64_t *in = p->call->shape.in, item = p->k->real_size, row = CK_POOL_PARTIALS * item;
  int going = 1;
  memset(b->partial, 0, (size_t)(row * p->unit));
  if (p->step == item || (p->lanes && p->step))
    return sum_run(p, worker, b, row_at(p, n, c, 0, 0), channels, p->step, 0, p->elements);
  for (int64_t y = 0; p->lanes && going && y < in[0] * in[1]; y++)
    going = sum_run(p, worker, b, row_at(p, n, c, y, 0), channels, p->call->x.stride[4], y * in[2] % CK_POOL_PARTIALS,
                    in[2]);
  for (int64_t q = 0; !p->lanes && going && q < channels; q++)
    going = sum_scattered(p, worker, b, b->partial + q * row, n, c + q);
  return going;
}

static void run_task(ck_worker *worker, void *context, int64_t index) {
  const whole_plan *p = context;
  const int64_t vl = p->k->vector, item = p->k->real_size, *stride = p->call->y.stride;
  whole_buffers b;
  ck_arena arena = {worker->scratch, 0};
  place(p->k, &arena, &b);
  ck_box box = ck_grid_box(&p->grid, index);
  for (int64_t i = 0; i < box.size[1]; i++) {
    int64_t c = (box.first[1] + i) * p->unit, channels = ck_min(p->unit, p->call->shape.channels - c);
    if (!sum_channels(p, worker, &b, box.first[0], c, channels))
      return;
    char *y = (char *)p->call->y.data + box.first[0] * stride[0] + c * stride[1];
    for (int64_t q = 0; q < channels; q += vl, y += vl * stride[1]) {
      int64_t some = ck_min(vl, channels - q);
      p->k->pool_whole(b.average, b.partial + q * CK_POOL_PARTIALS * item, p->lanes, (double)p->elements);
      for (int64_t i = 0; i < some && stride[1] != item; i++)
        memcpy(y + i * stride[1], b.average + i * item, (size_t)item);
      if (stride[1] == item)
        memcpy(y, b.average, (size_t)(some * item));
    }
  }
}

ck_status ck_pool_whole_run(const ck_pool *call) {
  whole_plan p = make_plan(call);
  return ck_parallel(ck_grid_count(&p.grid), run_task, &p, &call->run, call->run.workspace, ck_pool_whole_bytes(call));
}
