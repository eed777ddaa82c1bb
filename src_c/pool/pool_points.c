/* Moves by index: max pooling's gradient, unpooling and its gradient.  A task owns the planes of a few channels of one
 * image, and goes through their points in row-major order: no two tasks write to one place, and of repeated indices the
 * sum has one order and the last stands. */
#include "pool_points.h"

#include <string.h>

#include "base/dispatch.h"
#include "base/geometry.h"
#include "base/parallel.h"

/* Channels of a task where they are adjacent, points of one where they are not, lines from poll to poll; set by hand.
 */
enum { CHANNEL_BLOCK = 64, TASK_POINTS = 32768, POLL_LINES = 4096 };

typedef struct points_plan {
  const ck_pool *call;
  ck_pool_op op;
  const ck_kernels *k;
  int inner_channels; /* a line is the channels of a position; else it is a row, or a plane, of one channel */
  int64_t line, lines[3];
  int64_t elements, step; /* of the plane of x; step 0 where its rows do not follow one another */
  ck_grid grid;           /* images, channel blocks */
} points_plan;

int64_t ck_pool_even_step(const ck_tensor *t, const int64_t size[3]) {
  int64_t step = 1, run = 1; /* of a single element any will do */
  for (int d = 2; d >= 0; d--) {
    if (size[d] == 1)
      continue;
    if (run == 1)
      step = t->stride[d + 2];
    else if (t->stride[d + 2] != step * run)
      return 0;
    run *= size[d];
  }
  return step;
}

/* Whether neighbouring channels are closer than neighbouring positions. */
static int channels_adjacent(const ck_pool *call, int64_t item) {
  const int64_t *stride = call->y.data ? call->y.stride : call->indices.stride;
  return call->shape.channels > 1 && stride[1] == (call->y.data ? item : (int64_t)sizeof(int64_t)) &&
         stride[4] != stride[1];
}

/* Whether a plane is one row of its elements. */
static int goes_on(const ck_tensor *t, const int64_t size[3]) {
  return size[2] > 1 && t->stride[4] != 0 && ck_pool_even_step(t, size) == t->stride[4];
}

static points_plan make_plan(const ck_pool *call, ck_pool_op op) {
  const ck_pool_shape *s = &call->shape;
  points_plan p = {.call = call, .op = op, .k = call->kernels};
  p.elements = s->in[0] * s->in[1] * s->in[2];
  p.step = ck_pool_even_step(&call->x, s->in);
  p.inner_channels = channels_adjacent(call, p.k->real_size);
  p.line = s->out[2];
  for (int d = 0; d < 3; d++)
    p.lines[d] = s->out[d];
  if (!p.inner_channels)
    p.lines[2] = 1;
  if (!p.inner_channels && goes_on(&call->indices, s->out) && (!call->y.data || goes_on(&call->y, s->out))) {
    p.line = s->out[0] * s->out[1] * s->out[2];
    p.lines[0] = p.lines[1] = 1;
  }
  int64_t plane = ck_max(1, ck_max(p.elements, s->out[0] * s->out[1] * s->out[2]));
  int64_t channels = p.inner_channels ? CHANNEL_BLOCK : ck_max(1, TASK_POINTS / plane);
  while (channels > 1 && s->n * ck_ceil_div(s->channels, channels) < 4 * call->run.threads)
    channels /= 2;
  int64_t size[4] = {s->n, s->channels, 1, 1}, block[4] = {1, channels, 1, 1};
  p.grid = ck_grid_make(size, block);
  return p;
}

static char *at(const ck_tensor *t, int64_t n, int64_t c, int64_t z, int64_t y, int64_t x) {
  const int64_t *s = t->stride;
  return t->data ? (char *)t->data + n * s[0] + c * s[1] + z * s[2] + y * s[3] + x * s[4] : NULL;
}

static void clear_line(char *to, int64_t count, int64_t step, int64_t item) {
  if (step == item) {
    memset(to, 0, (size_t)(count * item));
    return;
  }
  for (int64_t i = 0; i < count; i++)
    memset(to + i * step, 0, (size_t)item);
}

static void clear(const points_plan *p, int64_t n, int64_t c0, int64_t channels) {
  const ck_tensor *x = &p->call->x;
  const int64_t *in = p->call->shape.in, item = p->k->real_size;
  if (p->step == item && !p->inner_channels) {
    for (int64_t c = 0; c < channels; c++)
      clear_line(at(x, n, c0 + c, 0, 0, 0), p->elements, item, item);
    return;
  }
  for (int64_t z = 0; z < in[0]; z++) {
    for (int64_t y = 0; y < in[1]; y++) {
      for (int64_t c = 0; c < channels && !p->inner_channels; c++)
        clear_line(at(x, n, c0 + c, z, y, 0), in[2], x->stride[4], item);
      for (int64_t i = 0; i < in[2] && p->inner_channels; i++)
        clear_line(at(x, n, c0, z, y, i), channels, x->stride[1], item);
    }
  }
}

/* Line (z, y, x) of the channels from c on; 0 if an index lies outside. */
static int visit(const points_plan *p, int64_t n, int64_t c, int64_t z, int64_t y, int64_t x, int64_t channels) {
  const ck_pool *call = p->call;
  int d = p->inner_channels ? 1 : 4;
  ck_pool_points line = {.op = p->op,
                         .count = p->inner_channels ? channels : p->line,
                         .elements = p->elements,
                         .plane = at(&call->x, n, c, 0, 0, 0),
                         .points = at(&call->y, n, c, z, y, x),
                         .index = at(&call->indices, n, c, z, y, x),
                         .plane_step = p->inner_channels ? call->x.stride[1] : 0,
                         .point_step = call->y.stride[d],
                         .index_step = call->indices.stride[d],
                         .step = p->step};
  for (int i = 0; i < 3; i++) {
    line.size[i] = call->shape.in[i];
    line.stride[i] = call->x.stride[i + 2];
  }
  return p->k->pool_points(&line);
}

typedef struct points_context {
  const points_plan *p;
  _Atomic int bad;
} points_context;

static void run_task(ck_worker *worker, void *context, int64_t index) {
  points_context *shared = context;
  const points_plan *p = shared->p;
  ck_box box = ck_grid_box(&p->grid, index);
  int64_t n = box.first[0], c0 = box.first[1], channels = box.size[1], visited = 0;
  if (p->op == CK_POOL_SCATTER_ADD || p->op == CK_POOL_SCATTER)
    clear(p, n, c0, channels);
  for (int64_t c = 0; c < (p->inner_channels ? 1 : channels); c++) {
    for (int64_t i = 0; i < p->lines[0] * p->lines[1] * p->lines[2]; i++) {
      int64_t row = i / p->lines[2], x = i % p->lines[2];
      if (!visit(p, n, c0 + c, row / p->lines[1], row % p->lines[1], x, channels))
        shared->bad = 1;
      if (ck_stopped_at(worker, ++visited, POLL_LINES))
        return;
    }
  }
}

ck_status ck_pool_points_run(const ck_pool *call, ck_pool_op op) {
  const int64_t *out = call->shape.out;
  points_plan p = make_plan(call, op);
  if (out[0] * out[1] * out[2] == 0 && p.elements == 0) /* however many images of nothing there are */
    return CK_OK;
  points_context context = {&p, 0};
  ck_status status = ck_parallel(ck_grid_count(&p.grid), run_task, &context, &call->run, NULL, 0);
  return status == CK_OK && context.bad ? CK_BAD_INDEX : status;
}
