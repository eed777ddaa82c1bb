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

#include "base/places.h"
#include "col2im_plan.h"
#include "dense/multiply.h"

typedef struct add_task {
  const ck_col2im_plan *p;
  ck_col2im_buffers b;
  ck_box box, positions;
  int64_t group, lanes, column; /* lanes: channels of the block at hand; column: elements to the next one */
} add_task;

static const int64_t none = 0; /* offsets of a single tap */

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
  ck_tap_offsets(kb->taps, stride + 2, t->b.offset);
  const ck_pack pack = {.panel = t->b.weight,
                        .ld = ld,
                        .lanes = out->channels,
                        .lane_stride = stride[0],
                        .src = weight_at(t, kb, out->channel),
                        .src_end = ck_tensor_end(weight, s->groups * s->c_out, s->c_in, s->kernel, t->p->k->real_size),
                        .nc = kb->channels,
                        .c_stride = stride[1],
                        .nt = ck_taps_of(kb->taps),
                        .t_off = t->b.offset};
  t->p->k->pack(&pack);
}

/* Panels first..end-1 of rows that lie `row` bytes apart, and their products `step`: 403 to 372 channels with 5x5 taps
 * took as long to pack panel after panel as to multiply. */
static void pack_panels(const add_task *t, const char *src, int64_t rows, int64_t row, int64_t k, int64_t step,
                        int64_t first, int64_t end) {
  enum { PAGES = 32 };
  const ck_col2im_plan *p = t->p;
  const int64_t item = p->k->real_size, panels = ck_row_panel_count(p->k, rows);
  for (int64_t q = 0; q < k; q += PAGES) {
    for (int64_t i = first; i < end; i++) {
      const int64_t from = ck_part_start(rows, panels, i), height = ck_part_start(rows, panels, i + 1) - from;
      const int64_t ld = ck_round_up(height, p->k->vector);
      const ck_pack pack = {.panel = t->b.panels + (i - first) * ck_col2im_panel_bytes(p) + q * ld * item,
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
  const ck_col2im_plan *p = t->p;
  const int64_t item = p->k->real_size, rows = ck_kblock_k(kb), panels = ck_row_panel_count(p->k, rows);
  const int64_t ld = ck_round_up(out->channels, p->k->vector), vector = p->k->vector * item;
  const int far = data != t->b.y.data;
  const char *weight = p->adjoining ? weight_at(t, kb, out->channel) : t->b.weight;
  const int64_t row = p->adjoining ? item : ld * item, step = p->adjoining ? p->call->weight.stride[0] : item;
  if (!p->adjoining)
    weight_rows(t, kb, out, ld);
  for (int64_t i = 0; i < panels; i++) {
    const int64_t first = ck_part_start(rows, panels, i), together = ck_min(i + CK_COL2IM_PANELS, panels);
    char *total = t->b.columns + first * p->column * item;
    if (i % CK_COL2IM_PANELS == 0)
      pack_panels(t, weight, rows, row, out->channels, step, i, together);
    ck_lane_product product = {.kernels = p->k,
                               .k = out->channels,
                               .height = ck_part_start(rows, panels, i + 1) - first,
                               .lanes = ck_box_count(&t->positions),
                               .ldc = p->column,
                               .data = data,
                               .ko = t->b.ko,
                               .steady = 1,
                               .panel = t->b.panels + i % CK_COL2IM_PANELS * ck_col2im_panel_bytes(p),
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

/* The same for few positions, which are rows here and the rows of weights lanes: read where they lie, those are worth
 * more than a panel, of which hardly a product would be made. All products stay in `totals` until they are columns. */
static void multiply_few(const add_task *t, const ck_kblock *kb, const ck_kblock *out, ck_chain mode) {
  const ck_col2im_plan *p = t->p;
  const int64_t item = p->k->real_size, rows = ck_kblock_k(kb);
  const ck_unpacked product = {.k = out->channels,
                               .rows = ck_box_count(&t->positions),
                               .lanes = rows,
                               .x = t->b.y.data,
                               .x_row = t->b.y.unit * item,
                               .w = weight_at(t, kb, out->channel),
                               .w_k = p->call->weight.stride[0],
                               .w_lane = item,
                               .to = t->b.totals,
                               .ld = ck_round_up(rows, p->k->vector),
                               .go_on = mode == CK_GO_ON};
  p->k->unpacked(&product);
}

/* Columns of few positions, out of their products. */
static void turn_totals(const add_task *t, const ck_kblock *kb) {
  const ck_col2im_plan *p = t->p;
  const int64_t item = p->k->real_size, rows = ck_kblock_k(kb), row = ck_round_up(rows, p->k->vector) * item;
  const ck_pack turn = {.panel = t->b.columns,
                        .ld = p->column,
                        .lanes = ck_box_count(&t->positions),
                        .lane_stride = row,
                        .src = t->b.totals,
                        .src_end = t->b.totals + p->positions * row,
                        .nc = rows,
                        .c_stride = item,
                        .nt = 1,
                        .t_off = &none};
  p->k->pack(&turn);
}

/* Where the box's gradients of some channels are, if rows follow one another there and whole vectors may be read. */
static const char *gradients_at(const add_task *t, int64_t channel, int64_t channels) {
  const ck_col2im_plan *p = t->p;
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
  ck_window_fill(&t->b.y, &t->positions, out, channel, 0);
  if (t->p->few) {
    multiply_few(t, kb, out, mode);
    return;
  }
  ck_window_tap_offsets(&t->b.y, t->b.ko);
  multiply_block(t, kb, out, t->b.y.data, mode);
}

/* Out of the gradients where they lie, as many channels as may be; returned is their number. */
static int64_t multiply_in_place(add_task *t, const ck_kblock *kb, const ck_kblock *out, ck_chain mode) {
  enum { FEWEST = 16 }; /* or to begin again for the last one costs more than a copy of all */
  const ck_col2im_plan *p = t->p;
  const int64_t first = t->group * p->call->shape.c_out + out->channel;
  ck_kblock some = *out;
  const char *data = gradients_at(t, first, some.channels);
  if (!data && some.channels > FEWEST)
    data = gradients_at(t, first, --some.channels);
  if (!data)
    return 0;
  for (int64_t c = 0; c < some.channels; c++)
    t->b.ko[c] = (int32_t)(c * (p->y.tensor.stride[1] / p->k->real_size));
  multiply_block(t, kb, &some, data, mode);
  return some.channels;
}

static void multiply_columns(add_task *t, const ck_kblock *kb, ck_worker *worker) {
  const ck_col2im_plan *p = t->p;
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
  if (p->few)
    turn_totals(t, kb);
}

/* Those that the user has: the block's are neighbours, as only the innermost axes of a kernel are taken whole. */
static void load_columns(add_task *t, const ck_kblock *kb) {
  const int64_t *kernel = t->p->call->shape.kernel;
  const ck_kblock all = {.channel = kb->channel * ck_taps_of(kernel) +
                                    (kb->tap[0] * kernel[1] + kb->tap[1]) * kernel[2] + kb->tap[2],
                         .channels = ck_kblock_k(kb),
                         .taps = {1, 1, 1}};
  ck_window_fill(&t->b.y, &t->positions, &all, 0, 0);
  t->column = t->b.y.channel_step;
}

/* ---------------------------------------------------------------- sums */

/* A row of x of the block's channels. Bounds are the drain's; another activation is applied to what has been stored,
 * which may have been added to. */
static void store_row(const add_task *t, const ck_kblock *kb, char *sums, char *dst) {
  const ck_col2im_plan *p = t->p;
  const ck_conv *call = p->call;
  const int64_t *stride = call->x.stride, phases = t->b.axis[2].phases, channel = phases * p->pitch;
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
                    .bias = p->transposed && call->bias ? t->b.bias : NULL,
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
  const ck_col2im_plan *p = t->p;
  const int64_t item = p->k->real_size;
  const ck_col2im_axis *a = &t->b.axis[2];
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
  const ck_col2im_plan *p = t->p;
  const ck_col2im_axis *depth = &t->b.axis[0], *height = &t->b.axis[1], *width = &t->b.axis[2];
  const int64_t item = p->k->real_size, plane = height->positions * width->positions;
  const int64_t sheet = height->taps * width->taps * t->column;
  int64_t link = depth->begin[z];
  const int64_t end = depth->begin[z + 1];
  do { /* where no tap reaches the row, sums are 0 */
    const ck_col2im_link *at = depth->link + link;
    ck_column_rows sum = {.lanes = t->lanes,
                          .from = t->b.columns + image * ck_col2im_image_pitch(p, depth->positions * plane) * item,
                          .from_lane = depth->taps * sheet * item,
                          .row = t->b.offset + height->begin[y],
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
    memcpy(t->b.bias + c * item, bias + (channel + c) * call->bias_stride, (size_t)item);
  for (int d = 0; d < 3; d++) {
    ck_col2im_axis_set(&t->b.axis[d], t->box.first[d + 1], t->box.size[d + 1], kb->tap[d], kb->taps[d]);
    t->positions.first[d + 1] = t->b.axis[d].low;
    t->positions.size[d + 1] = t->b.axis[d].positions;
  }
  t->positions.first[0] = t->box.first[0];
  t->positions.size[0] = t->box.size[0];
}

/* Their sums' tables. */
static void set_sums(add_task *t) {
  const int64_t item = t->p->k->real_size, column = t->column * item;
  ck_col2im_axis *height = &t->b.axis[1], *width = &t->b.axis[2];
  ck_col2im_set_links(&t->b.axis[0]);
  ck_col2im_set_links(height);
  ck_col2im_set_phases(width, column, item);
  for (int64_t i = 0; i < height->begin[height->size]; i++)
    t->b.offset[i] = height->link[i].tap * width->taps * column + height->link[i].at * width->positions * item;
}

/* Whether sums may be stored as they are made: those of neighbours that are complete, and only bounded then. */
static int finishes_rows(const add_task *t, int activation) {
  const int beside = t->p->call->x.stride[4] == t->p->k->real_size;
  return beside && t->b.axis[2].phases == 1 && t->b.axis[2].mode == CK_ZEROS && ck_only_bounds(activation);
}

static void add_block(add_task *t, const ck_kblock *kb, int first, int last) {
  const ck_col2im_plan *p = t->p;
  const ck_conv *call = p->call;
  const ck_tensor *x = &call->x;
  const int activation = p->transposed ? call->activation : CK_IDENTITY, finishes = finishes_rows(t, activation);
  ck_finish finish = {.row = x->stride[1],
                      .bias = p->transposed && call->bias ? t->b.bias : NULL,
                      .bounds = ck_bounds_of(activation, call->act_a, call->act_b),
                      .add = p->transposed && call->add};
  const int64_t item = p->k->real_size, channel = t->group * p->call->shape.c_in + kb->channel;
  char *sums = t->b.sums;
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
        if (ck_col2im_has_parts(p))
          sums += p->row * item;
      }
    }
  }
}

static void add_up(ck_worker *worker, void *context, int64_t index) {
  const ck_col2im_plan *p = context;
  const int64_t channels = p->rows.parts[0], parts = ck_reduction_count(&p->rows) / channels;
  const int64_t boxes = ck_grid_count(&p->grid), channel = index / boxes % channels;
  add_task t = {
      .p = p, .column = p->column, .group = index / boxes / channels, .box = ck_grid_box(&p->grid, index % boxes)};
  ck_arena arena = {.base = worker->scratch};
  ck_col2im_place(p, &arena, &t.b);
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
  ck_col2im_plan p = ck_col2im_make_plan(call, multiplied, transposed);
  if (bytes) {
    *bytes = call->run.threads * p.bytes;
    return CK_OK;
  }
  return ck_parallel(ck_col2im_tasks(&p), add_up, &p, &call->run, call->run.workspace, p.bytes);
}

ck_status ck_col2im(const ck_conv *call, int64_t *bytes) { return run(call, 0, 0, bytes); }

ck_status ck_col2im_grad_x(const ck_conv *call, int transposed, int64_t *bytes) {
  return run(call, 1, transposed, bytes);
}
