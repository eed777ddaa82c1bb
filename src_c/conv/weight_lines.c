#include "weight_lines.h"

#include <string.h>

#include "base/ahead.h"
#include "base/arena.h"
#include "base/parallel.h"
#include "conv_dense.h"
#include "weight_cut.h"
#include "weight_pixels.h"

/* Chains of a task, which every line goes over: more would not stay in level 2 beside the lines. */
enum { CHAIN_BYTES = 64 * 1024 };

typedef struct wl_plan {
  ck_weight_cut cut;
  ck_source source;
  ck_grid chunks;
  int64_t parts; /* of the vectors of channels, over tasks */
  int far;       /* whether both arrays come from memory */
} wl_plan;

typedef struct buffers {
  char *chain, *sums;
  int64_t (*taken)[2], *offset; /* of the columns of a chunk */
} buffers;

static int64_t vectors_of(const wl_plan *p) { return ck_ceil_div(p->cut.outer, p->parts); }

static buffers place(const wl_plan *p, ck_arena *arena) {
  const int64_t bytes = vectors_of(p) * p->cut.partial * p->cut.k->real_size, columns = ck_grid_largest(&p->chunks, 3);
  buffers b;
  b.chain = ck_take(arena, bytes);
  b.sums = ck_take(arena, p->cut.segments == 1 ? bytes : 0);
  b.taken = ck_take(arena, columns * (int64_t)sizeof *b.taken);
  b.offset = ck_take(arena, columns * (int64_t)sizeof *b.offset);
  return b;
}

static int is_far(const ck_conv_shape *s, int64_t item) {
  const int64_t x[] = {s->n, s->groups, s->in[0], s->in[1], s->in[2]};
  const int64_t y[] = {s->n, s->groups, s->out[0], s->out[1], s->out[2]};
  return ck_are_far(x, y, item);
}

static wl_plan make_plan(const ck_conv *call, int transposed) {
  wl_plan p = {.cut = ck_weight_cut_of(call, 1),
               .source = ck_conv_x_source(call, transposed, 1),
               .chunks = ck_weight_chunks(call),
               .far = is_far(&call->shape, call->kernels->real_size)};
  ck_kblock all;
  const int64_t taps = ck_taps_of(call->shape.kernel);
  p.cut.segments = ck_weight_segments(&p.cut, taps, ck_grid_count(&p.chunks));
  ck_weight_cut_set(&p.cut, taps, 1, &all); /* so a vector's sums are those of all taps, and of the bias */
  const int64_t most = ck_max(1, CHAIN_BYTES / (p.cut.partial * call->kernels->real_size));
  const int64_t threads = call->run.threads, each = threads > 1 ? ck_ceil_div(2 * threads, p.cut.segments) : 1;
  p.parts = ck_min(p.cut.outer, ck_max(each, ck_ceil_div(p.cut.outer, most)));
  ck_arena count = {0};
  place(&p, &count);
  p.cut.bytes = count.used;
  return p;
}

/* Whether few products are of columns by themselves, or of taps by threes: 7x7 on 56x56 would take 1.1 to 1.4 times as
 * long as by a window, on 7x7 and 31x31 on 28x28 twice (Zen 3). */
static int lines_pay(const ck_axis axis[3]) {
  enum { MOST_TAPS = 25 };
  int64_t inner, end;
  ck_axis_inner(&axis[2], &inner, &end);
  return ck_axes_taps(axis) <= MOST_TAPS && 2 * (end - inner) >= axis[2].outputs;
}

/* Depthwise, and nothing to be multiplied by an activation's derivative. */
static int is_plain(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  return call->algorithm == CK_DIRECT && s->c_in == 1 && s->c_out == 1 && call->activation == CK_IDENTITY &&
         call->weight.data;
}

int ck_weight_by_lines(const ck_conv *call, int transposed) {
  const int64_t item = call->kernels->real_size;
  if (!is_plain(call) || call->shape.groups < call->kernels->vector || call->x.stride[1] != item ||
      call->y.stride[1] != item)
    return 0;
  const ck_source source = ck_conv_x_source(call, transposed, 1);
  int can = lines_pay(source.axis);
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &source.axis[i];
    can &= ck_axis_is_near(a) && (a->mode == CK_ZEROS || ck_axis_is_inside(a));
  }
  if (!can)
    return 0;
  const wl_plan p = make_plan(call, transposed);
  return p.cut.tasks > 0 && ck_weight_above(&p.cut, ck_weight_shared(&p.cut), &call->run) == 0;
}

/* ---------------------------------------------------------------- run */

typedef struct wl_task {
  const wl_plan *p;
  buffers b;
  int64_t channel, vectors; /* the first channel, and how many vectors of them; the last one begins `back` before */
  int64_t back;
} wl_task;

/* What the row of outputs after y is the first to read. plane: of the source, of the channels. */
static ck_ahead *set_ahead(const wl_task *t, const ck_weight_line *line, const char *plane, int64_t y, int64_t column,
                           ck_ahead ahead[2]) {
  const ck_conv *call = t->p->cut.call;
  const ck_axis *axis = t->p->source.axis;
  const int64_t row = ck_row_ahead(&axis[1], y), vectors = line->vectors * line->columns;
  const int64_t bytes = line->vectors * call->kernels->vector * call->kernels->real_size;
  if (row < 0)
    return NULL;
  const int64_t first = ck_min(axis[2].source, column * axis[2].step);
  const int64_t columns = ck_min(axis[2].source - first, line->columns * axis[2].step);
  plane += row * call->x.stride[3] + first * call->x.stride[4];
  ahead[0] = ck_ahead_of(plane, columns, call->x.stride[4], bytes, vectors);
  ahead[1] = ck_ahead_of(line->g + call->y.stride[3], line->columns, line->g_step, bytes, vectors);
  return ahead;
}

/* A row of outputs, of image n and plane z, with each row of taps that is inside the source. */
static void run_row(const wl_task *t, ck_weight_line *line, const ck_box *box, int64_t n, int64_t z, int64_t y,
                    int64_t channel) {
  const wl_plan *p = t->p;
  const ck_conv *call = p->cut.call;
  const ck_axis *axis = p->source.axis;
  const int64_t *from = call->x.stride, *to = call->y.stride, item = call->kernels->real_size;
  char *chain = line->chain;
  const char *image = (const char *)call->x.data + n * from[0] + channel * item;
  ck_ahead ahead[2];
  int fetches = p->far;
  line->g = (const char *)call->y.data + n * to[0] + z * to[2] + y * to[3] + box->first[3] * to[4] + channel * item;
  for (int64_t i = 0; i < axis[0].taps * axis[1].taps; i++) {
    const int64_t at_z = ck_axis_at(&axis[0], z, i / axis[1].taps), at_y = ck_axis_at(&axis[1], y, i % axis[1].taps);
    if (at_z < 0 || at_z >= axis[0].source || at_y < 0 || at_y >= axis[1].source)
      continue;
    const char *plane = image + at_z * from[2];
    line->x = plane + at_y * from[3] + ck_axis_at(&axis[2], box->first[3], 0) * from[4];
    line->chain = chain + i * axis[2].taps * call->kernels->vector * item;
    line->ahead = fetches ? set_ahead(t, line, plane, y, box->first[3], ahead) : NULL;
    call->kernels->weight_line(line);
    fetches = 0;
  }
  line->chain = chain;
}

/* The vectors of the task's channels, of which the last may hold some of the one before, line after line of a chunk. */
static void run_lines(const wl_task *t, const ck_box *box, int64_t channel, int64_t vectors, char *chain) {
  const wl_plan *p = t->p;
  const ck_conv *call = p->cut.call;
  const ck_axis *x = &p->source.axis[2];
  ck_weight_line line = {.vectors = vectors,
                         .taps = x->taps,
                         .g_step = call->y.stride[4],
                         .x_step = x->step * call->x.stride[4],
                         .apart = x->tap_step * call->x.stride[4],
                         .columns = box->size[3],
                         .taken = (const int64_t (*)[2])t->b.taken,
                         .chain = chain,
                         .chain_apart = p->cut.partial};
  ck_axis_columns(x, box->first[3], box->size[3], &line.inner, &line.inner_end, t->b.taken);
  for (int64_t n = box->first[0]; n < box->first[0] + box->size[0]; n++)
    for (int64_t z = box->first[1]; z < box->first[1] + box->size[1]; z++)
      for (int64_t y = box->first[2]; y < box->first[2] + box->size[2]; y++)
        run_row(t, &line, box, n, z, y, channel);
}

static void run_chunk(const wl_task *t, const ck_box *box, char *sums) {
  const wl_plan *p = t->p;
  const ck_kernels *k = p->cut.k;
  const int64_t bytes = p->cut.partial * k->real_size, whole = t->vectors - (t->back > 0),
                all = t->vectors * p->cut.partial;
  const int64_t last = t->channel + whole * k->vector - t->back;
  memset(t->b.chain, 0, (size_t)(all * k->real_size));
  if (whole)
    run_lines(t, box, t->channel, whole, t->b.chain);
  if (t->back)
    run_lines(t, box, last, 1, t->b.chain + whole * bytes);
  k->add(sums, t->b.chain, all);
  for (int64_t v = 0; v < t->vectors && p->cut.call->bias; v++)
    ck_weight_sum_pixels(p->cut.call, box, v < whole ? t->channel + v * k->vector : last, 1, k->vector, k->vector,
                         t->b.offset, sums + v * bytes + p->cut.max_rows * k->vector * k->real_size);
}

/* Of a vector that began before its first channel the sums go to where that channel's belong. */
static void move_back(const wl_task *t, char *sums) {
  const ck_kernels *k = t->p->cut.k;
  const int64_t row = k->vector * k->real_size, skipped = t->back * k->real_size;
  for (int64_t i = 0; i <= t->p->cut.max_rows; i++, sums += row)
    memmove(sums, sums + skipped, (size_t)(row - skipped));
}

static void wl_run_task(ck_worker *worker, void *context, int64_t index) {
  const wl_plan *p = context;
  const ck_weight_cut *cut = &p->cut;
  const ck_conv *call = cut->call;
  const int64_t vector = cut->k->vector, part = index % p->parts, segment = index / p->parts;
  const int64_t first = ck_part_start(cut->outer, p->parts, part), end = ck_part_start(cut->outer, p->parts, part + 1);
  const int64_t chunks = ck_grid_count(&p->chunks), chunks_end = chunks * (segment + 1) / cut->segments;
  ck_arena arena = {.base = worker->scratch};
  wl_task t = {.p = p, .b = place(p, &arena), .channel = first * vector, .vectors = end - first};
  t.back = ck_max(0, end * vector - call->shape.groups);
  const int64_t slot = segment * cut->outer + first;
  char *sums = t.b.sums;
  for (int64_t v = t.vectors - 1; v >= 0; v--)
    sums = ck_weight_sums(cut, slot + v, t.b.sums + v * p->cut.partial * cut->k->real_size);
  for (int64_t o = 0; o < ck_grid_largest(&p->chunks, 3); o++)
    t.b.offset[o] = o * call->y.stride[4];
  for (int64_t i = chunks * segment / cut->segments; i < chunks_end && !ck_stopped(worker); i++) {
    const ck_box box = ck_grid_box(&p->chunks, i);
    run_chunk(&t, &box, sums);
  }
  if (t.back)
    move_back(&t, sums + (t.vectors - 1) * p->cut.partial * cut->k->real_size);
  for (int64_t v = 0; v < t.vectors; v++) {
    const ck_weight_part of = ck_weight_part_at(cut, slot + v);
    ck_weight_end(cut, &of, sums + v * p->cut.partial * cut->k->real_size);
  }
}

ck_status ck_weight_lines(const ck_conv *call, int transposed, int64_t *bytes) {
  wl_plan p = make_plan(call, transposed);
  const int64_t shared = ck_weight_shared(&p.cut);
  if (bytes) {
    *bytes = ck_max(*bytes, shared + call->run.threads * p.cut.bytes);
    return CK_OK;
  }
  ck_status status = ck_parallel(p.cut.segments * p.parts, wl_run_task, &p, &call->run,
                                 (char *)call->run.workspace + shared, p.cut.bytes);
  return status == CK_OK ? ck_weight_join(&p.cut) : status;
}
