#include "lines.h"

#include <string.h>

#include "base/ahead.h"

/* Of the source, with all the channels of a task, what a block of rows may take: it is read again for every part of
 * the channels whose weights are CLOSE, in level 1, from one column to the next. Bytes of a task's weights. Products
 * below which a task is not worth another thread. */
enum { BLOCK_BYTES = 192 * 1024, PANEL_BYTES = 192 * 1024, CLOSE_BYTES = 12 * 1024, LEAST_PRODUCTS = 1 << 16 };

/* Pixels whose channels, one after the other, are lanes: of less than a vector of channels as many as make whole ones.
 */
static int64_t together(const ck_dense *d) {
  const int64_t vector = d->kernels->vector;
  return d->groups < vector ? vector / ck_gcd(vector, d->groups) : 1;
}

/* The first lane of a vector. Where channels are no whole vectors, the last one holds some of the one before. */
static int64_t lane_of(const ck_dense *d, int64_t vector) {
  return ck_min(vector * d->kernels->vector, d->groups * together(d) - d->kernels->vector);
}

static int64_t all_vectors(const ck_dense *d) { return ck_ceil_div(d->groups * together(d), d->kernels->vector); }

static int64_t panel_bytes(const ck_dense *d) {
  return ck_axes_taps(d->source.axis) * d->kernels->vector * d->kernels->real_size;
}

/* Columns of which all taps are inside the source. */
static void inner_of(const ck_axis *x, int64_t *first, int64_t *end) {
  ck_axis_inner(x, first, end);
  *end = ck_max(*first, *end);
}

/* Whether pixels may be lanes, where they have to: rows without holes, none of whose pixels is left out; few beside
 * padding, which go one by one; and a few weights. */
static int can_join(const ck_dense *d) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t pixel = d->groups * d->kernels->real_size;
  int64_t inner, end;
  inner_of(x, &inner, &end);
  return ck_dense_is_plain(d) && x->step == 1 && d->source.tensor.stride[4] == pixel && d->dst.stride[4] == pixel &&
         end - inner >= together(d) && 8 * (x->outputs - (end - inner)) <= x->outputs &&
         all_vectors(d) * panel_bytes(d) <= 2 * CLOSE_BYTES;
}

static int64_t phases_of(const ck_dense *d) { return d->phases[0] * d->phases[1] * d->phases[2]; }

/* Phases are begun one by one: of few outputs, or of kernels that read much padding, by_group takes less. 3x3 with
 * stride 2 on 16 images of 3x3, 64 channels, would take 1.4 times as long, 15x15 on 28x28 1.2 (Zen 3). */
static int phases_pay(const ck_dense *d) {
  enum { FEW_OUTPUTS = 48 };
  const ck_axis *axis = d->source.axis;
  int64_t inner, end;
  inner_of(&axis[2], &inner, &end);
  return phases_of(d) == 1 ||
         (axis[1].outputs * axis[2].outputs >= FEW_OUTPUTS && 3 * (end - inner) >= 2 * axis[2].outputs);
}

/* By group a window is copied: what tap rows share stays in level 1, and no vector straddles two cache lines, as most
 * of 64 bytes do in NumPy's arrays. So of more taps that takes less. With AVX-512 9x9, 13x13 and 21x21 of 64 channels
 * on 28x28 would take 1.6, 2.0 and 3.1 times as long by line (7x7 1.1 to 1.4, of aligned arrays 1.0), with
 * AVX2 1.15, 1.5 and 2.7 times (Zen 5, one thread). */
static int has_few_taps(const ck_dense *d) {
  return ck_axes_taps(d->source.axis) <= (d->kernels->vector * d->kernels->real_size < 64 ? 64 : 25);
}

int ck_lines_can(const ck_dense *d) {
  const int64_t item = d->kernels->real_size;
  const ck_axis *axis = d->source.axis;
  if (!ck_axis_is_near(&axis[0]) || !ck_axis_is_near(&axis[1]) || !ck_axis_is_near(&axis[2]) || !phases_pay(d))
    return 0;
  return ck_dense_is_depthwise(d) && d->lanes == 1 && d->source.tensor.stride[1] == item && d->dst.stride[1] == item &&
         has_few_taps(d) && (together(d) == 1 || can_join(d));
}

/* One phase of a transposed correlation, the last axis' counting fastest: the outputs and taps of its own. */
static ck_dense phase_of(const ck_dense *d, int64_t index) {
  ck_dense one = *d;
  for (int i = 2; i >= 0; index /= d->phases[i--]) {
    const ck_axis *a = &d->source.axis[i];
    const int64_t every = ck_tapped_phases(a); /* taps from one to the next of its phase */
    int64_t tap = index % d->phases[i], phase = tap;
    if (a->stride == 0)
      continue;
    if (d->tapped)
      phase = ck_tap_phase(a, tap);
    else
      for (tap = 0; tap < every && ck_tap_phase(a, tap) != phase;)
        tap++;
    one.source.axis[i] = (ck_axis){.outputs = ck_max(0, ck_ceil_div(d->dst_size[i] - phase, d->dst_step[i])),
                                   .source = a->source,
                                   .base = a->base + ck_tap_offset(a, tap),
                                   .step = a->step,
                                   .taps = tap < every ? ck_ceil_div(a->taps - tap, every) : 0,
                                   .tap_step = ck_tap_offset(a, tap + every) - ck_tap_offset(a, tap),
                                   .mode = a->mode};
    one.w += tap * d->w_tap[i];
    one.w_tap[i] *= every;
    one.dst.data = (char *)one.dst.data + phase * d->dst.stride[i + 2];
    one.dst.stride[i + 2] *= d->dst_step[i];
  }
  return one;
}

typedef struct buffers {
  char *panels, *bias;
  const char **from;
  int64_t *tap, (*taken)[2], *w_off;
} buffers;

/* For `each` vectors of channels. */
static buffers place(const ck_dense *d, int64_t each, ck_arena *arena) {
  const ck_axis *axis = d->source.axis;
  const int64_t width = d->kernels->vector * d->kernels->real_size, rows = axis[0].taps * axis[1].taps;
  int64_t inner, inner_end;
  buffers b;
  inner_of(&axis[2], &inner, &inner_end);
  b.panels = ck_take(arena, (each + 1) * panel_bytes(d));
  b.bias = ck_take(arena, (each + 1) * width);
  b.from = ck_take(arena, rows * (int64_t)sizeof *b.from);
  b.tap = ck_take(arena, rows * (int64_t)sizeof *b.tap);
  b.taken = ck_take(arena, (axis[2].outputs - (inner_end - inner)) * (int64_t)sizeof *b.taken);
  b.w_off = ck_take(arena, ck_axes_taps(d->source.axis) * (int64_t)sizeof *b.w_off);
  return b;
}

static int64_t scratch_bytes(const ck_dense *d, int64_t each) {
  ck_arena arena = {0};
  place(d, each, &arena);
  return arena.used;
}

static int is_far(const ck_dense *d) {
  const ck_axis *a = d->source.axis;
  const int64_t read[] = {d->n, d->groups, a[0].source, a[1].source, a[2].source};
  const int64_t stored[] = {d->n, d->groups * phases_of(d), a[0].outputs, a[1].outputs, a[2].outputs};
  return ck_are_far(read, stored, d->kernels->real_size);
}

/* Rows whose source stays in level 2 while vector after vector of channels is worked off; where these are not shared
 * out, so many as give all threads some. */
static int64_t rows_of(const ck_dense *d, const ck_run *run, int64_t each) {
  const ck_axis *x = &d->source.axis[2], *y = &d->source.axis[1];
  const int64_t vector = d->kernels->vector, lanes = together(d) > 1 ? d->groups : each * vector;
  const int64_t line = x->source * lanes * d->kernels->real_size, fit = BLOCK_BYTES / ck_max(1, line);
  const int64_t rows = ck_max(1, ck_min(y->outputs, (fit - (y->taps - y->step)) / ck_max(1, y->step)));
  const int64_t images = d->n * d->source.axis[0].outputs, products = x->outputs * lanes * ck_axes_taps(d->source.axis);
  if (together(d) == 1 || run->threads == 1)
    return rows;
  const int64_t shared = ck_ceil_div(images * y->outputs, 2 * run->threads);
  return ck_min(rows, ck_max(shared, ck_ceil_div(LEAST_PRODUCTS, ck_max(1, products))));
}

/* And as many parts of the channels as give all threads some. */
void ck_lines_plan(const ck_dense *d, const ck_run *run, ck_dense_plan *p) {
  const ck_axis *axis = d->source.axis;
  const int64_t vector = d->kernels->vector, joined = together(d) > 1;
  p->outer = joined ? all_vectors(d) : d->groups / vector;
  p->far = !joined && is_far(d);
  int64_t each = joined ? p->outer : ck_max(1, ck_min(p->outer, PANEL_BYTES / panel_bytes(d)));
  const int64_t rows = rows_of(d, run, each), block[4] = {1, 1, rows, axis[2].outputs};
  p->grid = ck_grid_make(p->grid.size, block);
  const int64_t wanted = 2 * run->threads, tasks = ck_grid_count(&p->grid) * ck_ceil_div(p->outer, each);
  const int64_t products = rows * axis[2].outputs * each * ck_axes_taps(d->source.axis);
  if (run->threads > 1 && !joined && tasks < wanted && products * vector > LEAST_PRODUCTS)
    each = ck_max(1, ck_ceil_div(each, ck_ceil_div(wanted, tasks)));
  while (each > 1 && !joined && scratch_bytes(d, each) > ck_thread_bytes(run, CK_THREAD_BYTES))
    each = each / 2;
  p->each = each - (each > 1 && each < p->outer && each % 2); /* the kernel takes them in pairs */
  p->tasks = ck_grid_count(&p->grid) * ck_ceil_div(p->outer, p->each);
  p->tile_lanes = vector * (joined ? each : ck_min(p->each, ck_max(2, CLOSE_BYTES / panel_bytes(d) / 2 * 2)));
  p->bytes = scratch_bytes(d, p->each);
}

/* The weights of lanes that are the same channels again and again, [vector][tap][lane]. */
static void pack_again(const ck_dense *d, const int64_t *w_off, char *panels) {
  const int64_t item = d->kernels->real_size, vector = d->kernels->vector, taps = ck_axes_taps(d->source.axis);
  for (int64_t i = 0; i < all_vectors(d) * vector; i++) {
    const char *w = d->w + i % d->groups * d->w_group;
    for (int64_t t = 0; t < taps; t++)
      memcpy(panels + ((i / vector * taps + t) * vector + i % vector) * item, w + w_off[t], (size_t)item);
  }
}

/* The weights of some vectors of channels, [vector][tap][lane]. */
static void pack(const ck_dense *d, int64_t *w_off, int64_t vector, int64_t count, char *panels) {
  const ck_axis *axis = d->source.axis;
  const int64_t taps[3] = {axis[0].taps, axis[1].taps, axis[2].taps};
  ck_tap_offsets(taps, d->w_tap, w_off);
  if (together(d) > 1) {
    pack_again(d, w_off, panels);
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    const ck_pack call = {.panel = panels + i * panel_bytes(d),
                          .src = d->w + lane_of(d, vector + i) * d->w_group,
                          .src_end = d->w_end,
                          .ld = d->kernels->vector,
                          .lanes = d->kernels->vector,
                          .lane_stride = d->w_group,
                          .nc = 1,
                          .nt = ck_axes_taps(d->source.axis),
                          .t_off = w_off};
    d->kernels->pack(&call);
  }
}

int64_t ck_lines_panels(const ck_dense *d) { return all_vectors(d) * panel_bytes(d); }

void ck_lines_pack(const ck_dense *d, void *scratch, char *panels) {
  for (int64_t i = 0; i < phases_of(d); i++) {
    const ck_dense one = phase_of(d, i);
    pack(&one, scratch, 0, all_vectors(d), panels);
    panels += all_vectors(d) * panel_bytes(&one);
  }
}

static void set_bias(const ck_dense *d, char *bias, int64_t vector, int64_t count) {
  const int64_t item = d->kernels->real_size, lanes = d->kernels->vector;
  memset(bias, 0, (size_t)(count * lanes * item));
  for (int64_t i = 0; i < count * lanes && d->bias; i++)
    memcpy(bias + i * item, d->bias + (lane_of(d, vector + i / lanes) + i % lanes) % d->groups * d->bias_stride,
           (size_t)item);
}

/* The tap rows that are inside the source, which begins at src, for the outputs of plane z and row y: how many. */
static int64_t set_rows(const ck_dense *d, buffers *b, const char *src, int64_t z, int64_t y) {
  const ck_axis *axis = d->source.axis;
  const int64_t *stride = d->source.tensor.stride;
  int64_t rows = 0;
  for (int64_t i = 0; i < axis[0].taps; i++) {
    const int64_t at_z = ck_axis_at(&axis[0], z, i);
    for (int64_t j = 0; j < axis[1].taps; j++) {
      const int64_t at_y = ck_axis_at(&axis[1], y, j);
      if (at_z < 0 || at_z >= axis[0].source || at_y < 0 || at_y >= axis[1].source)
        continue;
      b->from[rows] = src + at_z * stride[2] + at_y * stride[3];
      b->tap[rows++] = (i * axis[1].taps + j) * axis[2].taps;
    }
  }
  return rows;
}

/* What is the same for all lines. */
static ck_line line_of(const ck_dense *d, const buffers *b) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t column = d->source.tensor.stride[4], apart = ck_taps_apart(x);
  ck_line line = {.from = b->from,
                  .tap = b->tap,
                  .taken = (const int64_t (*)[2])b->taken,
                  .taps = x->taps,
                  .columns = x->outputs,
                  .step = x->step * column,
                  .apart = apart * column,
                  .shared = x->taps > 2 && (x->step == apart || x->step == -apart),
                  .to_step = d->dst.stride[4],
                  .panel_apart = ck_axes_taps(d->source.axis) * d->kernels->vector,
                  .bounds = ck_bounds_of(d->activation, d->act_a, d->act_b)};
  ck_axis_columns(x, 0, x->outputs, &line.inner, &line.inner_end, b->taken);
  return line;
}

/* What the row after y is the first to read, and where it is stored. src: of the channels. */
static ck_ahead *set_ahead(const ck_dense *d, const ck_line *line, const char *src, int64_t y, ck_ahead ahead[2]) {
  const ck_axis *axis = d->source.axis;
  const int64_t *stride = d->source.tensor.stride, row = ck_row_ahead(&axis[1], y);
  const int64_t bytes = line->vectors * d->kernels->vector * d->kernels->real_size,
                sums = line->vectors * line->columns;
  if (row < 0)
    return NULL;
  ahead[0] = ck_ahead_of(src + row * stride[3], axis[2].source, stride[4], bytes, sums);
  ahead[1] = ck_ahead_of(line->to + d->dst.stride[3], axis[2].outputs, line->to_step, bytes, sums);
  return ahead;
}

/* Outputs from pixel `first` on, of so many pixels at a time, all with every tap. */
static void run_inner(const ck_dense *d, const buffers *b, const ck_line *line, int64_t first, int64_t times) {
  const int64_t pixels = together(d);
  ck_line inner = *line;
  inner.shared = 0;
  inner.inner = 0;
  inner.inner_end = inner.columns = times;
  inner.step *= pixels;
  inner.to_step *= pixels;
  inner.to += first * line->to_step;
  for (int64_t r = 0; r < line->rows; r++)
    b->from[r] += first * line->step;
  d->kernels->line(&inner);
  for (int64_t r = 0; r < line->rows; r++)
    b->from[r] -= first * line->step;
}

/* A row whose lanes are channels of some pixels: those beside padding one by one, the others together, of which the
 * last ones may be done again. */
static void run_joined(const ck_dense *d, const buffers *b, const ck_line *line) {
  const int64_t pixels = together(d), inner = line->inner_end - line->inner;
  ck_line edges = *line;
  edges.part = d->groups;
  d->kernels->line(&edges);
  run_inner(d, b, line, line->inner, inner / pixels);
  if (inner % pixels)
    run_inner(d, b, line, line->inner_end - pixels, 1);
}

/* The box, whose rows are of one plane, of the line's channels, from `channel` on. */
static void run_lines(const ck_dense *d, const ck_dense_plan *p, buffers *b, const ck_box *box, int64_t channel,
                      ck_line *line) {
  const ck_tensor *s = &d->source.tensor;
  const ck_axis *axis = d->source.axis;
  const int64_t *to = d->dst.stride, item = d->kernels->real_size, n = box->first[0], z = box->first[1];
  const int64_t end = ck_min(box->first[2] + box->size[2], axis[1].outputs);
  const int64_t at_z = ck_min(ck_max(0, ck_axis_at(&axis[0], z, 0)), axis[0].source - 1);
  const char *src = (const char *)s->data + n * s->stride[0] + channel * item;
  ck_ahead ahead[2];
  for (int64_t y = box->first[2]; y < end; y++) {
    line->rows = set_rows(d, b, src + ck_axis_at(&axis[2], 0, 0) * s->stride[4], z, y);
    line->to = (char *)d->dst.data + n * to[0] + z * to[2] + y * to[3] + channel * item;
    line->ahead = p->far ? set_ahead(d, line, src + at_z * s->stride[2], y, ahead) : NULL;
    if (together(d) > 1)
      run_joined(d, b, line);
    else
      d->kernels->line(line);
    ck_dense_activate_stored(d, line->to, line->to_step, line->columns,
                             together(d) > 1 ? d->groups : line->vectors * d->kernels->vector);
  }
}

/* One phase of a task, whose weights lie ready, or are packed. */
static void run_phase(ck_worker *worker, const ck_dense *d, const ck_dense_plan *p, buffers *b, const ck_share *share,
                      const char *panels) {
  const int64_t shared = share->end == p->outer ? all_vectors(d) - p->outer : 0, vector = d->kernels->vector;
  const int64_t count = share->end - share->first + shared, bytes = panel_bytes(d);
  if (share->box.first[1] >= d->source.axis[0].outputs)
    return;
  if (!panels)
    pack(d, b->w_off, share->first, count, b->panels);
  ck_line line = line_of(d, b);
  for (int64_t i = 0; i < count && !ck_stopped(worker); i += line.vectors) {
    line.vectors = ck_min(p->tile_lanes / vector, ck_max(1, count - shared - i)); /* the shared one by itself */
    line.panel = (panels ? panels + share->first * bytes : b->panels) + i * bytes;
    line.bias = b->bias + i * vector * d->kernels->real_size;
    run_lines(d, p, b, &share->box, lane_of(d, share->first + i), &line);
  }
}

void ck_lines_task(ck_worker *worker, void *context, int64_t index) {
  const ck_dense_call *call = context;
  const ck_dense *d = call->d;
  const ck_dense_plan *p = &call->plan;
  const ck_share share = ck_dense_share(p, index);
  ck_arena arena = {.base = worker->scratch};
  buffers b = place(d, p->each, &arena);
  const char *panels = call->panels;
  set_bias(d, b.bias, share.first, share.end - share.first + 1);
  for (int64_t i = 0; i < phases_of(d); i++) {
    const ck_dense one = phase_of(d, i);
    run_phase(worker, &one, p, &b, &share, panels);
    panels += panels ? all_vectors(d) * panel_bytes(&one) : 0;
  }
}
