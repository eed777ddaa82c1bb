/* Columns added up: x[n][c][i] is the sum of cols[n][c * taps + t][o] over all t and o whose o * stride + t * dilation
 * - pad is i, or padding that repeats i. The gradient of x, or a transposed convolution, is that of columns which
 * weight and gradient give: one product for all taps and phases of a stride, whose panels a single channel fills.
 *
 * A task has a box of x: it makes the columns of the positions that reach it, and adds them up row by row of x, each
 * phase of the stride as whole vectors, which the drain interleaves. What an element gets, it gets tap after tap; so
 * boxes leave the bits alone.
 */
#include "col2im.h"

#include <string.h>

#include "base/parallel.h"
#include "base/places.h"
#include "col2im_axis.h"
#include "conv_dense.h"
#include "dense/multiply.h"

/* Panels that are packed together: what is read of a product's weights, which may lie a page from the next one's, then
 * serves all of these. */
enum { PANELS = 4 };

typedef struct add_plan {
  const ck_conv *call;
  const ck_kernels *k;
  int multiplied, transposed, adjoining; /* multiplied: columns are products, or else y */
  int in_place;                          /* products read y where it lies */
  ck_source y;
  ck_grid grid;                /* of x */
  ck_reduction rows, channels; /* (channel, tap), and what a product sums over */
  ck_window_size size;         /* of y's window */
  ck_col2im_axis axis[3];
  int64_t most_rows, most_channels; /* of a task: its rows, and their channels */
  int64_t column, pitch, row;       /* elements: from column to column, phase to phase, and row to row of sums */
  int64_t bytes;
} add_plan;

typedef struct add_task {
  const add_plan *p;
  ck_window y;
  ck_col2im_axis axis[3];
  char *columns, *sums, *panels, *weight, *bias;
  int64_t *offset; /* of links of the middle axis, or of products */
  int32_t *ko;
  ck_box box, positions;
  int64_t group, lanes, column; /* lanes: channels of the block at hand; column: elements to the next one */
} add_task;

/* Of one panel of weights. */
static int64_t panel_bytes(const add_plan *p) {
  return p->size.channels * ck_round_up(p->k->max_height, p->k->vector) * p->k->real_size;
}

static int has_parts(const add_plan *p) { return ck_reduction_count(&p->rows) > p->rows.parts[0]; }

static void place(const add_plan *p, ck_arena *arena, add_task *t) {
  const int64_t item = p->k->real_size, vector = p->k->vector * item;
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  int64_t size[3];
  for (int d = 0; d < 3; d++) {
    size[d] = ck_grid_largest(&p->grid, d + 1);
    t->axis[d] = p->axis[d];
    if (d == 2)
      ck_col2im_place_phases(&t->axis[d], size[d], kb.taps[d], arena);
    else
      ck_col2im_place_links(&t->axis[d], size[d], kb.taps[d], arena);
  }
  const int64_t links = ck_col2im_positions(&p->axis[1], size[1], kb.taps[1]) * kb.taps[1];
  t->offset = ck_take(arena, ck_max(links, ck_max(p->most_rows, p->size.channels)) * (int64_t)sizeof(int64_t));
  t->bias = ck_take(arena, p->most_channels * item);
  const int64_t rows = has_parts(p) ? ck_grid_largest(&p->grid, 0) * size[0] * size[1] : 1;
  t->sums = ck_take(arena, rows * p->row * item + vector);
  ck_window_place(&t->y, p->k, &p->y, &p->size, arena);
  t->columns = t->y.data;
  if (!p->multiplied)
    return;
  t->columns = ck_take(arena, p->most_rows * p->column * item + vector);
  t->panels = ck_take(arena, PANELS * panel_bytes(p));
  t->weight = p->adjoining ? NULL : ck_take(arena, p->most_rows * ck_round_up(p->size.channels, p->k->vector) * item);
  t->ko = ck_take(arena, p->size.channels * (int64_t)sizeof(int32_t));
}

/* The columns as the user has them, as a source of one channel for each. */
static ck_source columns_of(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  ck_source y = {.tensor = call->y};
  int64_t *stride = y.tensor.stride;
  stride[3] = s->out[2] * stride[4];
  stride[2] = s->out[1] * stride[3];
  y.end = ck_tensor_end(&y.tensor, s->n, s->c_in * ck_taps_of(s->kernel), s->out, call->kernels->real_size);
  return y;
}

/* From one image's elements of a column to the next one's: products that read in place write whole vectors. */
static int64_t image_pitch(const add_plan *p, int64_t positions) {
  return p->in_place ? ck_round_up(positions, p->k->vector) : positions;
}

static void set_grid(add_plan *p, const int64_t size[4], int64_t target) {
  int64_t block[4], positions = 1;
  ck_row_block(size, target, 1, block);
  p->grid = ck_grid_make(size, block);
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  p->size.outputs[0] = ck_grid_largest(&p->grid, 0);
  for (int d = 0; d < 3; d++)
    p->size.outputs[d + 1] = ck_col2im_positions(&p->axis[d], ck_grid_largest(&p->grid, d + 1), kb.taps[d]);
  for (int d = 1; d < 4; d++)
    positions *= p->size.outputs[d];
  positions = p->size.outputs[0] * image_pitch(p, positions);
  const int64_t item = p->k->real_size, vector = p->k->vector, width = ck_grid_largest(&p->grid, 3);
  const int64_t stride = p->axis[2].stride;
  p->column = ck_round_up(positions, vector);
  p->column += p->column * item % 1024 == 0 ? vector : 0; /* or all would meet in a few sets of level 1 */
  p->pitch = ck_round_up(ck_ceil_div(width, stride), vector);
  p->row = p->most_channels * p->pitch * ck_min(stride, width);
}

/* Whether the rows of a block are neighbours in the weights: then panels are packed from where they are. */
static int rows_adjoin(const ck_conv *call, const ck_kblock *kb) {
  const int64_t *stride = call->weight.stride, *kernel = call->shape.kernel;
  int64_t step = call->kernels->real_size;
  int adjoin = 1, whole = 1;
  for (int i = 2; i >= 0; i--) {
    adjoin &= kb->taps[i] == 1 || (whole && stride[i + 2] == step);
    whole &= kb->taps[i] == kernel[i];
    step *= kernel[i];
  }
  return adjoin && (kb->channels == 1 || (whole && stride[1] == step));
}

/* Blocks of so many rows at most; fewer channels where there are fewer images than threads, to keep these busy. */
static void set_rows(add_plan *p, int64_t cap) {
  const ck_conv *call = p->call;
  const ck_conv_shape *s = &call->shape;
  const int64_t parts = ck_ceil_div(call->run.threads, ck_max(1, ck_min(s->n * s->groups, call->run.threads)));
  p->rows = ck_reduction_make(s->c_in, s->kernel, ck_min(cap, ck_ceil_div(s->c_in, parts) * ck_taps_of(s->kernel)));
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  p->most_rows = ck_kblock_k(&kb);
  p->most_channels = kb.channels;
  p->adjoining = rows_adjoin(call, &kb);
  if (!p->multiplied)
    p->size.channels = p->most_rows;
}

static int64_t tasks_of(const add_plan *p) {
  return ck_grid_count(&p->grid) * p->call->shape.groups * p->rows.parts[0];
}

/* What the thread with the most tasks takes, in products: a task packs its panels, and each block of rows copies y, as
 * some more positions and rows would take; with channels last, whose elements are copied one by one, as many (Zen 4).
 */
static double cost_of(const add_plan *p) {
  enum { PACKED = 4, COPIED = 8, COPIED_APART = 100 };
  const int64_t *size = p->size.outputs, parts = ck_reduction_count(&p->rows) / ck_max(1, p->rows.parts[0]);
  const int64_t copied = p->y.tensor.stride[4] == p->k->real_size ? COPIED : COPIED_APART;
  const double positions = (double)(size[0] * size[1]) * (double)(size[2] * size[3]);
  const double rounds = (double)ck_ceil_div(tasks_of(p), p->call->run.threads);
  return rounds * (double)parts * (positions + PACKED) * (double)(p->most_rows + copied);
}

static int fits(const add_plan *p) { return p->bytes <= ck_thread_bytes(&p->call->run, CK_THREAD_BYTES); }

/* Whether boxes are better than others: those that fit, then those of less cost. Where none fit, as padding that goes
 * round is read from afar, smaller ones save little and cost much, unless memory is what is asked for. */
static int is_better(const add_plan *p, const add_plan *other) {
  if (fits(p) != fits(other))
    return fits(p);
  if (fits(p))
    return cost_of(p) < cost_of(other);
  if (p->call->run.limit)
    return p->bytes < other->bytes;
  return (double)p->bytes * cost_of(p) < (double)other->bytes * cost_of(other);
}

/* Boxes of the least cost that scratch allows: smaller ones share out better, but need more positions twice. */
static void set_boxes(add_plan *p) {
  enum { MOST_ELEMENTS = 1 << 17 };
  const ck_conv_shape *s = &p->call->shape;
  const int64_t size[4] = {s->n, s->in[0], s->in[1], s->in[2]};
  add_plan other = *p;
  for (int64_t target = MOST_ELEMENTS; target > 0; target /= 2) {
    add_task t = {0};
    ck_arena count = {0};
    set_grid(&other, size, target);
    place(&other, &count, &t);
    other.bytes = count.used;
    if (target == MOST_ELEMENTS || is_better(&other, p))
      *p = other;
    else if (fits(p) && cost_of(&other) > cost_of(p))
      return;
  }
}

/* Whether padding of any axis repeats elements. */
static int repeats(const add_plan *p) {
  return p->axis[0].mode != CK_ZEROS || p->axis[1].mode != CK_ZEROS || p->axis[2].mode != CK_ZEROS;
}

/* Whether products may read y where it lies: each image's channels in whole vectors, of which few are nobody's. */
static int reads_in_place(const add_plan *p) {
  const ck_conv_shape *s = &p->call->shape;
  const int64_t *stride = p->y.tensor.stride, item = p->k->real_size, plane = s->out[0] * s->out[1] * s->out[2];
  const int even = stride[4] == item && stride[0] >= 0 && stride[1] >= 0 && stride[1] % item == 0;
  return p->multiplied && !p->y.act_y.data && even && stride[1] / item < INT32_MAX / ck_max(1, p->size.channels) &&
         8 * ck_round_up(plane, p->k->vector) <= 9 * plane;
}

/* As many rows at a time as make the least work: of large kernels, all columns of a position may leave room for few
 * positions. Fewer may take more, and fewer still less: 30 to 106 channels, 10x2 dilated on 57x37, took 54 ms in place
 * of 2.5, each box a row, until all were tried that leave more than one box (a Zen 4, one thread). Where padding
 * repeats elements, in which order those are added depends on how taps are cut: there it must not follow from scratch.
 */
static add_plan make_plan(const ck_conv *call, int multiplied, int transposed) {
  enum { MOST_ROWS = 256, FEWEST_ROWS = 16, PRODUCTS = 128 }; /* as few leave room for positions */
  const ck_conv_shape *s = &call->shape;
  const int64_t one[3] = {1, 1, 1};
  add_plan p = {.call = call, .k = call->kernels, .multiplied = multiplied, .transposed = transposed};
  p.channels = ck_reduction_make(s->c_out, one, PRODUCTS);
  p.size = (ck_window_size){.channels = ck_reduction_largest(&p.channels).channels, .taps = {1, 1, 1}};
  p.y = multiplied ? ck_conv_y_source(call, !transposed, 0) : columns_of(call);
  p.y.order = CK_PLANES;
  for (int d = 0; d < 3; d++) {
    p.axis[d] = ck_col2im_axis_make(s, d);
    if (multiplied && s->c_out == 0) /* nothing reaches x */
      p.axis[d].out = 0;
    p.y.axis[d] = (ck_axis){.outputs = s->out[d], .source = s->out[d], .step = 1, .taps = 1, .tap_step = 1};
  }
  p.in_place = reads_in_place(&p);
  set_rows(&p, MOST_ROWS);
  set_boxes(&p);
  for (int64_t cap = MOST_ROWS / 2; cap >= FEWEST_ROWS && !repeats(&p); cap /= 2) {
    add_plan other = p;
    set_rows(&other, cap);
    set_boxes(&other);
    if (is_better(&other, &p))
      p = other;
    else if (ck_grid_count(&p.grid) == 1)
      break;
  }
  return p;
}

/* ---------------------------------------------------------------- columns */

/* Where in the weights the block's first row of an output channel is. */
static const char *weight_at(const add_task *t, const ck_kblock *kb, int64_t channel) {
  const ck_conv *call = t->p->call;
  const int64_t *stride = call->weight.stride;
  const char *at = (const char *)call->weight.data + (t->group * call->shape.c_out + channel) * stride[0];
  at += kb->channel * stride[1];
  for (int i = 0; i < 3; i++)
    at += kb->tap[i] * stride[i + 2];
  return at;
}

/* weight[row][k] of a block of output channels, wherever rows are. */
static void weight_rows(const add_task *t, const ck_kblock *kb, const ck_kblock *out, int64_t ld) {
  const ck_tensor *weight = &t->p->call->weight;
  const ck_conv_shape *s = &t->p->call->shape;
  const int64_t *stride = weight->stride;
  ck_tap_offsets(kb->taps, stride + 2, t->offset);
  const ck_pack pack = {.panel = t->weight,
                        .ld = ld,
                        .lanes = out->channels,
                        .lane_stride = stride[0],
                        .src = weight_at(t, kb, out->channel),
                        .src_end = ck_tensor_end(weight, s->groups * s->c_out, s->c_in, s->kernel, t->p->k->real_size),
                        .nc = kb->channels,
                        .c_stride = stride[1],
                        .nt = ck_taps_of(kb->taps),
                        .t_off = t->offset};
  t->p->k->pack(&pack);
}

/* Panels first..end-1 of rows that lie `row` bytes apart, and their products `step`: 403 to 372 channels with 5x5 taps
 * took as long to pack panel after panel as to multiply. */
static void pack_panels(const add_task *t, const char *src, int64_t rows, int64_t row, int64_t k, int64_t step,
                        int64_t first, int64_t end) {
  enum { PAGES = 32 };
  static const int64_t none = 0;
  const add_plan *p = t->p;
  const int64_t item = p->k->real_size, panels = ck_row_panel_count(p->k, rows);
  for (int64_t q = 0; q < k; q += PAGES) {
    for (int64_t i = first; i < end; i++) {
      const int64_t from = ck_part_start(rows, panels, i), height = ck_part_start(rows, panels, i + 1) - from;
      const int64_t ld = ck_round_up(height, p->k->vector);
      const ck_pack pack = {.panel = t->panels + (i - first) * panel_bytes(p) + q * ld * item,
                            .ld = ld,
                            .lanes = height,
                            .lane_stride = row,
                            .src = src + q * step + from * row,
                            .nc = ck_min(PAGES, k - q),
                            .c_stride = step,
                            .nt = 1,
                            .t_off = &none};
      p->k->pack(&pack);
    }
  }
}

/* columns = transpose(weight) @ gradient, over a block of output channels whose gradients are at `data`. */
static void multiply_block(const add_task *t, const ck_kblock *kb, const ck_kblock *out, const char *data,
                           ck_chain mode) {
  const add_plan *p = t->p;
  const int64_t item = p->k->real_size, rows = ck_kblock_k(kb), panels = ck_row_panel_count(p->k, rows);
  const int64_t ld = ck_round_up(out->channels, p->k->vector), vector = p->k->vector * item;
  const int far = data != t->y.data;
  const char *weight = p->adjoining ? weight_at(t, kb, out->channel) : t->weight;
  const int64_t row = p->adjoining ? item : ld * item, step = p->adjoining ? p->call->weight.stride[0] : item;
  if (!p->adjoining)
    weight_rows(t, kb, out, ld);
  for (int64_t i = 0; i < panels; i++) {
    const int64_t first = ck_part_start(rows, panels, i), together = ck_min(i + PANELS, panels);
    char *total = t->columns + first * p->column * item;
    if (i % PANELS == 0)
      pack_panels(t, weight, rows, row, out->channels, step, i, together);
    ck_lane_product product = {.kernels = p->k,
                               .k = out->channels,
                               .height = ck_part_start(rows, panels, i + 1) - first,
                               .lanes = ck_box_count(&t->positions),
                               .ldc = p->column,
                               .data = data,
                               .ko = t->ko,
                               .panel = t->panels + i % PANELS * panel_bytes(p),
                               .chain = total,
                               .total = total,
                               .mode = mode};
    if (!p->in_place) {
      ck_multiply_lanes(&product);
      continue;
    }
    product.lanes /= t->positions.size[0];
    product.ahead = far && i == 0;
    for (int64_t n = 0; n < t->positions.size[0]; n++) {
      ck_multiply_lanes(&product);
      product.data = (const char *)product.data + (far ? p->y.tensor.stride[0] : product.lanes * item);
      product.chain = product.total = (char *)product.total + ck_round_up(product.lanes * item, vector);
    }
  }
}

/* Where the box's gradients of some channels are, if rows follow one another there and whole vectors may be read. */
static const char *gradients_at(const add_task *t, int64_t channel, int64_t channels) {
  const add_plan *p = t->p;
  const int64_t *stride = p->y.tensor.stride, *out = p->call->shape.out, item = p->k->real_size;
  const ck_box *box = &t->positions;
  const int rows = box->size[1] * box->size[2] == 1 || (box->size[3] == out[2] && stride[3] == out[2] * item);
  if (!rows || (box->size[1] > 1 && (box->size[2] != out[1] || stride[2] != out[1] * stride[3])))
    return NULL;
  const char *at = (const char *)p->y.tensor.data + channel * stride[1];
  for (int d = 0; d < 4; d++)
    at += box->first[d] * stride[d ? d + 1 : 0];
  const int64_t lanes = ck_round_up(ck_box_count(box) / box->size[0], p->k->vector);
  return at + (box->size[0] - 1) * stride[0] + (channels - 1) * stride[1] + lanes * item > p->y.end ? NULL : at;
}

/* Out of a copy of the gradients. */
static void multiply_copied(add_task *t, const ck_kblock *kb, const ck_kblock *out, ck_chain mode) {
  const ck_conv *call = t->p->call;
  const int64_t channel = t->group * call->shape.c_out;
  ck_window_fill(&t->y, &t->positions, out, channel, 0);
  ck_window_tap_offsets(&t->y, t->ko);
  multiply_block(t, kb, out, t->y.data, mode);
}

/* Out of the gradients where they lie, as many channels as may be; returned is their number. */
static int64_t multiply_in_place(add_task *t, const ck_kblock *kb, const ck_kblock *out, ck_chain mode) {
  enum { FEWEST = 16 }; /* or to begin again for the last one costs more than a copy of all */
  const add_plan *p = t->p;
  const int64_t first = t->group * p->call->shape.c_out + out->channel;
  ck_kblock some = *out;
  const char *data = gradients_at(t, first, some.channels);
  if (!data && some.channels > FEWEST)
    data = gradients_at(t, first, --some.channels);
  if (!data)
    return 0;
  for (int64_t c = 0; c < some.channels; c++)
    t->ko[c] = (int32_t)(c * (p->y.tensor.stride[1] / p->k->real_size));
  multiply_block(t, kb, &some, data, mode);
  return some.channels;
}

static void multiply_columns(add_task *t, const ck_kblock *kb, ck_worker *worker) {
  const add_plan *p = t->p;
  const int64_t blocks = ck_reduction_count(&p->channels);
  for (int64_t q = 0; q < blocks && !ck_stopped(worker); q++) {
    ck_kblock out = ck_reduction_block(&p->channels, q);
    const ck_chain mode = q ? CK_GO_ON : CK_STORE;
    const int64_t done = p->in_place ? multiply_in_place(t, kb, &out, mode) : 0;
    out.channel += done;
    out.channels -= done;
    if (out.channels)
      multiply_copied(t, kb, &out, done ? CK_GO_ON : mode);
  }
}

/* Those that the user has: the block's are neighbours, as only the innermost axes of a kernel are taken whole. */
static void load_columns(add_task *t, const ck_kblock *kb) {
  const int64_t *kernel = t->p->call->shape.kernel;
  const ck_kblock all = {.channel = kb->channel * ck_taps_of(kernel) +
                                    (kb->tap[0] * kernel[1] + kb->tap[1]) * kernel[2] + kb->tap[2],
                         .channels = ck_kblock_k(kb),
                         .taps = {1, 1, 1}};
  ck_window_fill(&t->y, &t->positions, &all, 0, 0);
  t->column = t->y.channel_step;
}

/* ---------------------------------------------------------------- sums */

/* A row of x of the block's channels. Bounds are the drain's; another activation is applied to what has been stored,
 * which may have been added to. */
static void store_row(const add_task *t, const ck_kblock *kb, char *sums, char *dst) {
  const add_plan *p = t->p;
  const ck_conv *call = p->call;
  const int64_t *stride = call->x.stride, phases = t->axis[2].phases, channel = phases * p->pitch;
  const int activation = p->transposed ? call->activation : CK_IDENTITY;
  const ck_bounds bounds = ck_bounds_of(activation, call->act_a, call->act_b);
  ck_drain drain = {.c = sums,
                    .c_pixel = 1,
                    .c_lane = channel,
                    .dst = dst,
                    .count = t->box.size[3],
                    .lanes = kb->channels,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1],
                    .bias = p->transposed && call->bias ? t->bias : NULL,
                    .bounds = activation == CK_IDENTITY ? NULL : &bounds,
                    .add = p->transposed && call->add,
                    .phases = phases,
                    .c_phase = p->pitch * p->k->real_size};
  p->k->drain(&drain);
  if (ck_only_bounds(activation))
    return;
  ck_load_rows(p->k, sums, channel, dst, stride[1], kb->channels, stride[4], t->box.size[3]);
  p->k->activate(sums, sums, kb->channels * channel, activation, call->act_a, call->act_b);
  drain.bias = NULL;
  drain.bounds = NULL;
  drain.phases = drain.add = 0;
  p->k->drain(&drain);
}

/* What padding along the innermost axis repeats: one element and tap at a time. */
static void add_repeated(const add_task *t, const ck_column_rows *sum) {
  const add_plan *p = t->p;
  const int64_t item = p->k->real_size;
  const ck_col2im_axis *a = &t->axis[2];
  ck_column_tap tap = {.end = 1};
  ck_column_rows one = *sum;
  one.count = one.taps = one.go_on = 1;
  one.tap = &tap;
  for (ck_col2im_repeat r = {0, -1, 0}; ck_col2im_next_repeat(a, &r);) {
    const int64_t i = r.element - a->first;
    if (i < 0 || i >= a->size)
      continue;
    tap.at = (r.tap * t->column + r.at - a->low) * item;
    one.to = (char *)sum->to + (i % a->stride * p->pitch + i / a->stride) * item;
    p->k->col2im(&one);
  }
}

/* Adds the block's taps to the sums of row (z, y) of an image of the box, which go on from those of earlier taps. They
 * stay there, or the last ones go to `finish`. */
static void add_row(add_task *t, int64_t image, int64_t z, int64_t y, char *sums, int go_on, const ck_finish *finish) {
  const add_plan *p = t->p;
  const ck_col2im_axis *depth = &t->axis[0], *height = &t->axis[1], *width = &t->axis[2];
  const int64_t item = p->k->real_size, plane = height->positions * width->positions;
  const int64_t sheet = height->taps * width->taps * t->column;
  int64_t link = depth->begin[z];
  const int64_t end = depth->begin[z + 1];
  do { /* where no tap reaches the row, sums are 0 */
    const ck_col2im_link *at = depth->link + link;
    ck_column_rows sum = {.lanes = t->lanes,
                          .from = t->columns + image * image_pitch(p, depth->positions * plane) * item,
                          .from_lane = depth->taps * sheet * item,
                          .row = t->offset + height->begin[y],
                          .rows = link < end ? height->begin[y + 1] - height->begin[y] : 0,
                          .to = sums,
                          .to_lane = width->phases * p->pitch,
                          .go_on = go_on,
                          .finish = link + 1 < end ? NULL : finish};
    if (link < end)
      sum.from += (at->tap * sheet + at->at * plane) * item;
    char *row = sums;
    for (int64_t f = 0; f < width->phases; f++, row += p->pitch * item) {
      sum.to = row;
      sum.count = (width->size - f - 1) / width->stride + 1;
      sum.tap = width->phase_taps + width->begin[f];
      sum.taps = width->begin[f + 1] - width->begin[f];
      if ((sum.rows && sum.taps) || !go_on || sum.finish) /* or they stay what they are */
        p->k->col2im(&sum);
    }
    sum.to = sums;
    add_repeated(t, &sum);
    go_on = 1;
  } while (++link < end);
}

/* A block's channels and their bias, its taps, and which positions of y reach the box by way of them. */
static void set_block(add_task *t, const ck_kblock *kb) {
  const ck_conv *call = t->p->call;
  const int64_t item = t->p->k->real_size, channel = t->group * call->shape.c_in + kb->channel;
  const char *bias = t->p->transposed ? call->bias : NULL;
  t->lanes = kb->channels;
  for (int64_t c = 0; c < kb->channels && bias; c++)
    memcpy(t->bias + c * item, bias + (channel + c) * call->bias_stride, (size_t)item);
  for (int d = 0; d < 3; d++) {
    ck_col2im_axis_set(&t->axis[d], t->box.first[d + 1], t->box.size[d + 1], kb->tap[d], kb->taps[d]);
    t->positions.first[d + 1] = t->axis[d].low;
    t->positions.size[d + 1] = t->axis[d].positions;
  }
  t->positions.first[0] = t->box.first[0];
  t->positions.size[0] = t->box.size[0];
}

/* Their sums' tables. */
static void set_sums(add_task *t) {
  const int64_t item = t->p->k->real_size, column = t->column * item;
  ck_col2im_axis *height = &t->axis[1], *width = &t->axis[2];
  ck_col2im_set_links(&t->axis[0]);
  ck_col2im_set_links(height);
  ck_col2im_set_phases(width, column, item);
  for (int64_t i = 0; i < height->begin[height->size]; i++)
    t->offset[i] = height->link[i].tap * width->taps * column + height->link[i].at * width->positions * item;
}

/* Whether sums may be stored as they are made: those of neighbours that are complete, and only bounded then. */
static int finishes_rows(const add_task *t, int activation) {
  const int beside = t->p->call->x.stride[4] == t->p->k->real_size;
  return beside && t->axis[2].phases == 1 && t->axis[2].mode == CK_ZEROS && ck_only_bounds(activation);
}

static void add_block(add_task *t, const ck_kblock *kb, int first, int last) {
  const add_plan *p = t->p;
  const ck_conv *call = p->call;
  const ck_tensor *x = &call->x;
  const int activation = p->transposed ? call->activation : CK_IDENTITY, finishes = finishes_rows(t, activation);
  ck_finish finish = {.row = x->stride[1],
                      .bias = p->transposed && call->bias ? t->bias : NULL,
                      .bounds = ck_bounds_of(activation, call->act_a, call->act_b),
                      .add = p->transposed && call->add};
  const int64_t item = p->k->real_size, channel = t->group * p->call->shape.c_in + kb->channel;
  char *sums = t->sums;
  for (int64_t n = 0; n < t->box.size[0]; n++) {
    for (int64_t z = 0; z < t->box.size[1]; z++) {
      char *dst = (char *)x->data + (t->box.first[0] + n) * x->stride[0] + channel * x->stride[1] +
                  (t->box.first[1] + z) * x->stride[2] + t->box.first[2] * x->stride[3] +
                  t->box.first[3] * x->stride[4];
      for (int64_t y = 0; y < t->box.size[2]; y++, dst += x->stride[3]) {
        finish.dst = dst;
        add_row(t, n, z, y, sums, !first, last && finishes ? &finish : NULL);
        if (last && !finishes)
          store_row(t, kb, sums, dst);
        if (has_parts(p))
          sums += p->row * item;
      }
    }
  }
}

static void add_up(ck_worker *worker, void *context, int64_t index) {
  const add_plan *p = context;
  const int64_t channels = p->rows.parts[0], parts = ck_reduction_count(&p->rows) / channels;
  const int64_t boxes = ck_grid_count(&p->grid), channel = index / boxes % channels;
  add_task t = {
      .p = p, .column = p->column, .group = index / boxes / channels, .box = ck_grid_box(&p->grid, index % boxes)};
  ck_arena arena = {.base = worker->scratch};
  place(p, &arena, &t);
  for (int64_t i = 0; i < parts && !ck_stopped(worker); i++) {
    const ck_kblock kb = ck_reduction_block(&p->rows, channel * parts + i);
    set_block(&t, &kb);
    const int reached = ck_box_count(&t.positions) > 0;
    if (reached && p->multiplied)
      multiply_columns(&t, &kb, worker);
    else if (reached)
      load_columns(&t, &kb);
    set_sums(&t);
    add_block(&t, &kb, i == 0, i == parts - 1);
  }
}

static ck_status run(const ck_conv *call, int multiplied, int transposed, int64_t *bytes) {
  add_plan p = make_plan(call, multiplied, transposed);
  if (bytes) {
    *bytes = call->run.threads * p.bytes;
    return CK_OK;
  }
  return ck_parallel(tasks_of(&p), add_up, &p, &call->run, call->run.workspace, p.bytes);
}

ck_status ck_col2im(const ck_conv *call, int64_t *bytes) { return run(call, 0, 0, bytes); }

ck_status ck_col2im_grad_x(const ck_conv *call, int transposed, int64_t *bytes) {
  return run(call, 1, transposed, bytes);
}
