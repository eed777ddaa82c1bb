#include "lines.h"

#include <string.h>

#include "base/parallel.h"
#include "dense_run.h"

/* Of the source, with all the channels of a task, what a block of rows may take: it is read again for every part of
 * the channels whose weights are CLOSE, in level 1, from one column to the next. Bytes of a task's weights. Products
 * below which a task is not worth another thread. */
enum { BLOCK_BYTES = 192 * 1024, PANEL_BYTES = 192 * 1024, CLOSE_BYTES = 12 * 1024, LEAST_PRODUCTS = 1 << 16 };

/* The first channel of a vector. Where channels are no whole vectors, the last one holds some of the one before. */
static int64_t channel_of(const ck_dense *d, int64_t vector) {
  return ck_min(vector * d->kernels->vector, d->groups - d->kernels->vector);
}

static int64_t all_vectors(const ck_dense *d) { return ck_ceil_div(d->groups, d->kernels->vector); }

static int64_t all_taps(const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  return axis[0].taps * axis[1].taps * axis[2].taps;
}

static int64_t panel_bytes(const ck_dense *d) { return all_taps(d) * d->kernels->vector * d->kernels->real_size; }

/* Whether every tap outside the source is left out, and not read from elsewhere. */
static int pads_zeros(const ck_axis *axis) { return axis->mode == CK_ZEROS || ck_axis_is_inside(axis); }

int ck_lines_can(const ck_dense *d) {
  const ck_source *s = &d->source;
  const int64_t item = d->kernels->real_size;
  int can = d->arrangements & 1 << CK_BY_GROUP && d->channels == 1 && d->lanes == 1 && d->groups > 0 &&
            d->groups >= d->kernels->vector && s->tensor.stride[1] == item && d->dst.stride[1] == item &&
            !s->act_y.data && !d->sampler && !d->fold && !d->add && !d->tapped;
  for (int i = 0; i < 3; i++)
    can &= d->phases[i] == 1 && s->axis[i].stride <= 1 && pads_zeros(&s->axis[i]);
  const int only = ck_arrangements_only();
  return can && (!only || only & 1 << CK_BY_GROUP) && all_taps(d) <= ck_kblock_cap(d->kernels);
}

typedef struct lines {
  const ck_dense *d;
  int64_t vectors, each, parts; /* whole ones of channels, those of a task, and tasks that share them */
  int64_t blocks, rows, planes; /* blocks of rows of a plane, rows of a block; planes of outputs */
  int64_t together;             /* vectors that a line has at a time */
  int64_t inner, inner_end;     /* columns of which all taps are inside the source */
} lines;

typedef struct buffers {
  char *panels, *bias;
  const char **from;
  int64_t *tap, (*taken)[2], *w_off;
} buffers;

static buffers place(const lines *l, ck_arena *arena) {
  const ck_dense *d = l->d;
  const ck_axis *axis = d->source.axis;
  const int64_t width = d->kernels->vector * d->kernels->real_size, rows = axis[0].taps * axis[1].taps;
  buffers b;
  b.panels = ck_take(arena, (l->each + 1) * panel_bytes(d));
  b.bias = ck_take(arena, (l->each + 1) * width);
  b.from = ck_take(arena, rows * (int64_t)sizeof *b.from);
  b.tap = ck_take(arena, rows * (int64_t)sizeof *b.tap);
  b.taken = ck_take(arena, (axis[2].outputs - (l->inner_end - l->inner)) * (int64_t)sizeof *b.taken);
  b.w_off = ck_take(arena, all_taps(d) * (int64_t)sizeof *b.w_off);
  return b;
}

static int64_t scratch_bytes(const lines *l) {
  ck_arena arena = {0};
  place(l, &arena);
  return arena.used;
}

/* Blocks of rows whose source stays in level 2 while vector after vector of channels is worked off, and as many parts
 * of the channels as give all threads some. */
static lines cut(const ck_dense *d, const ck_run *run) {
  const ck_axis *axis = d->source.axis;
  const int64_t item = d->kernels->real_size, width = d->kernels->vector * item;
  lines l = {.d = d, .vectors = d->groups / d->kernels->vector, .planes = d->n * axis[0].outputs};
  ck_axis_inner(&axis[2], &l.inner, &l.inner_end);
  l.inner = ck_max(0, ck_min(l.inner, axis[2].outputs));
  l.inner_end = ck_max(l.inner, ck_min(l.inner_end, axis[2].outputs));
  l.each = ck_max(1, ck_min(l.vectors, PANEL_BYTES / (all_taps(d) * width)));
  const int64_t line = axis[2].source * l.each * width, fit = BLOCK_BYTES / ck_max(1, line);
  const int64_t beyond = axis[1].taps - axis[1].step;
  l.rows = ck_max(1, ck_min(axis[1].outputs, (fit - beyond) / ck_max(1, axis[1].step)));
  l.blocks = ck_ceil_div(axis[1].outputs, l.rows);
  const int64_t wanted = 2 * run->threads, tasks = l.planes * l.blocks * ck_ceil_div(l.vectors, l.each);
  const int64_t products = l.rows * axis[2].outputs * l.each * all_taps(d);
  if (run->threads > 1 && tasks < wanted && products * d->kernels->vector > LEAST_PRODUCTS)
    l.each = ck_max(1, ck_ceil_div(l.each, ck_ceil_div(wanted, tasks)));
  while (l.each > 1 && scratch_bytes(&l) > ck_thread_bytes(run, CK_THREAD_BYTES))
    l.each = l.each / 2;
  l.each -= l.each > 1 && l.each < l.vectors && l.each % 2; /* the kernel takes them in pairs */
  l.together = ck_max(2, CLOSE_BYTES / panel_bytes(d) / 2 * 2);
  l.parts = ck_ceil_div(l.vectors, l.each);
  return l;
}

/* The weights of some vectors of channels, [vector][tap][lane]. */
static void pack(const ck_dense *d, int64_t *w_off, int64_t vector, int64_t count, char *panels) {
  const ck_axis *axis = d->source.axis;
  int64_t *off = w_off;
  for (int64_t z = 0; z < axis[0].taps; z++)
    for (int64_t y = 0; y < axis[1].taps; y++)
      for (int64_t x = 0; x < axis[2].taps; x++)
        *off++ = z * d->w_tap[0] + y * d->w_tap[1] + x * d->w_tap[2];
  for (int64_t i = 0; i < count; i++) {
    const ck_pack call = {.panel = panels + i * panel_bytes(d),
                          .src = d->w + channel_of(d, vector + i) * d->w_group,
                          .src_end = d->w_end,
                          .ld = d->kernels->vector,
                          .lanes = d->kernels->vector,
                          .lane_stride = d->w_group,
                          .nc = 1,
                          .nt = all_taps(d),
                          .t_off = w_off};
    d->kernels->pack(&call);
  }
}

int64_t ck_lines_panels(const ck_dense *d) { return all_vectors(d) * panel_bytes(d); }

void ck_lines_pack(const ck_dense *d, const ck_run *run, char *panels) {
  pack(d, run->workspace, 0, all_vectors(d), panels);
}

static void set_bias(const lines *l, char *bias, int64_t vector, int64_t count) {
  const ck_dense *d = l->d;
  const int64_t item = d->kernels->real_size, lanes = d->kernels->vector;
  memset(bias, 0, (size_t)(count * lanes * item));
  for (int64_t i = 0; i < count * lanes && d->bias; i++)
    memcpy(bias + i * item, d->bias + (channel_of(d, vector + i / lanes) + i % lanes) * d->bias_stride, (size_t)item);
}

static void set_columns(const lines *l, buffers *b) {
  const ck_axis *x = &l->d->source.axis[2];
  for (int64_t o = 0; o < x->outputs; o++) {
    if (o == l->inner && o < l->inner_end)
      o = l->inner_end;
    if (o == x->outputs)
      break;
    int64_t *taken = b->taken[o < l->inner ? o : o - (l->inner_end - l->inner)];
    ck_axis_taken(x, o, 1, &taken[0], &taken[1]);
    taken[1] += taken[0];
  }
}

/* The tap rows that are inside the source for the outputs of plane z and row y: how many. */
static int64_t set_rows(const lines *l, buffers *b, int64_t image, int64_t z, int64_t y) {
  const ck_tensor *t = &l->d->source.tensor;
  const ck_axis *axis = l->d->source.axis;
  int64_t rows = 0;
  for (int64_t i = 0; i < axis[0].taps; i++) {
    const int64_t at_z = axis[0].base + z * axis[0].step + ck_tap_offset(&axis[0], i);
    for (int64_t j = 0; j < axis[1].taps; j++) {
      const int64_t at_y = axis[1].base + y * axis[1].step + ck_tap_offset(&axis[1], j);
      if (at_z < 0 || at_z >= axis[0].source || at_y < 0 || at_y >= axis[1].source)
        continue;
      b->from[rows] = (const char *)t->data + image * t->stride[0] + at_z * t->stride[2] + at_y * t->stride[3];
      b->tap[rows++] = (i * axis[1].taps + j) * axis[2].taps;
    }
  }
  return rows;
}

static void activate_row(const ck_dense *d, const ck_line *line, int64_t lanes) {
  for (int64_t o = 0; o < line->columns; o++) {
    char *at = line->to + o * line->to_step;
    d->kernels->activate(at, at, lanes, d->activation, d->act_a, d->act_b);
  }
}

static void lines_task(ck_worker *worker, void *context, int64_t index) {
  const lines *l = context;
  const ck_dense *d = l->d;
  const ck_axis *axis = d->source.axis;
  const int64_t item = d->kernels->real_size, width = d->kernels->vector * item, all = all_vectors(d);
  const int64_t vector = index % l->parts * l->each, shared = index % l->parts == l->parts - 1 ? all - l->vectors : 0;
  const int64_t count = ck_min(l->each, l->vectors - vector) + shared;
  const int64_t block = index / l->parts % l->blocks, plane = index / l->parts / l->blocks;
  const int64_t image = plane / axis[0].outputs, z = plane % axis[0].outputs;
  ck_arena arena = {.base = worker->scratch};
  buffers b = place(l, &arena);
  const char *panels = b.panels;
  if (d->panels.kind == CK_WAY_LINES && d->panels.data)
    panels = (const char *)d->panels.data + vector * panel_bytes(d);
  else
    pack(d, b.w_off, vector, count, b.panels);
  set_bias(l, b.bias, vector, count);
  set_columns(l, &b);
  const int64_t column = d->source.tensor.stride[4], tap = ck_tap_offset(&axis[2], 0);
  const int64_t step = axis[2].step, apart = ck_tap_offset(&axis[2], 1) - tap;
  ck_line line = {.tap = b.tap,
                  .taken = (const int64_t (*)[2])b.taken,
                  .taps = axis[2].taps,
                  .columns = axis[2].outputs,
                  .inner = l->inner,
                  .inner_end = l->inner_end,
                  .step = step * column,
                  .apart = apart * column,
                  .shared = axis[2].taps > 2 && (step == apart || step == -apart),
                  .to_step = d->dst.stride[4],
                  .panel_apart = all_taps(d) * d->kernels->vector,
                  .bounds = ck_bounds_of(d->activation, d->act_a, d->act_b)};
  const int64_t end = ck_min(axis[1].outputs, (block + 1) * l->rows);
  for (int64_t i = 0; i < count && !ck_stopped(worker); i += line.vectors) {
    line.vectors = ck_min(l->together, ck_max(1, count - shared - i)); /* the shared one by itself */
    const int64_t first = channel_of(d, vector + i) * item;
    line.panel = panels + i * panel_bytes(d);
    line.bias = b.bias + i * width;
    for (int64_t y = block * l->rows; y < end; y++) {
      line.rows = set_rows(l, &b, image, z, y);
      for (int64_t r = 0; r < line.rows; r++)
        b.from[r] += first + (axis[2].base + tap) * column;
      line.from = b.from;
      line.to = (char *)d->dst.data + image * d->dst.stride[0] + z * d->dst.stride[2] + y * d->dst.stride[3] + first;
      d->kernels->line(&line);
      if (!ck_only_bounds(d->activation))
        activate_row(d, &line, line.vectors * d->kernels->vector);
    }
  }
}

ck_status ck_lines(const ck_dense *d, const ck_run *run, int64_t *bytes) {
  lines l = cut(d, run);
  const int64_t stride = scratch_bytes(&l);
  if (bytes) {
    *bytes = ck_max(*bytes, run->threads * stride);
    return CK_OK;
  }
  return ck_parallel(l.planes * l.blocks * l.parts, lines_task, &l, run, run->workspace, stride);
}

void ck_lines_explain(const ck_dense *d, const ck_run *run, ck_explanation *e) {
  const lines l = cut(d, run);
  const int64_t block[4] = {1, 1, l.rows, d->source.axis[2].outputs};
  memcpy(e->block, block, sizeof block);
  e->channels = 1;
  e->lanes = ck_min(l.together, l.each) * d->kernels->vector;
  e->tasks = l.planes * l.blocks * l.parts;
}
