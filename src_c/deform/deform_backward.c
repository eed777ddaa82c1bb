/* Deformable convolution, the gradients: chunk after chunk (deform_chunk.h), those of the weight in deform_weight.c,
 * and here those of x, offset and mask.
 *
 * For each tap of a tile of channels, columns of the gradient (weight times gradient) are consumed at once: by dx,
 * which the task alone writes for these channels, and by sums over the channels of column times corner, out of which
 * come the derivatives of offset and mask.  These sums are kept part by part and added in the parts' order when the
 * chunk's tasks are done: no atomics, the same bits for any number of threads. */
#include "deform_backward.h"

#include <string.h>

#include "base/parallel.h"
#include "conv/conv_dense.h"
#include "conv/grad_weight.h"
#include "deform_weight.h"
#include "dense/multiply.h"

enum { FEWEST_PIXELS = 32 }; /* of a box that is halved once more */

/* ---------------------------------------------------------------- x, and sums for offset and mask */

/* panel[tap][output channel][lane] of `outputs` output channels from `first` on. */
static void load_weights(const ck_chunk *c, ck_chunk_buffers *b, const ck_chunk_tile *tile, int64_t first,
                         int64_t outputs, int64_t tap, int64_t taps) {
  const ck_conv *conv = &c->call->conv;
  const ck_conv_shape *s = &conv->shape;
  const int64_t *stride = conv->weight.stride;
  ck_pack pack = {.panel = b->panel,
                  .ld = tile->vectors * c->k->vector,
                  .lanes = tile->lanes,
                  .lane_stride = stride[1],
                  .nc = outputs,
                  .src = (const char *)conv->weight.data + (tile->weight_group * s->c_out + first) * stride[0] +
                         (tile->channel - tile->weight_group * s->c_in) * stride[1],
                  .src_end = ck_tensor_end(&conv->weight, s->groups * s->c_out, s->c_in, s->kernel, c->k->real_size),
                  .c_stride = stride[0],
                  .nt = taps,
                  .t_off = b->offset,
                  .row = b->row};
  ck_chunk_tap_offsets(c, stride + 2, tap, taps, b->offset);
  pack.src += b->offset[0];
  for (int64_t t = taps - 1; t >= 0; t--)
    b->offset[t] -= b->offset[0];
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t t = 0; t < taps; t++)
      b->row[o * taps + t] = (int32_t)(t * outputs + o);
  c->k->pack(&pack);
}

/* columns[pixel][lane] (+)= sum over output channels of weight * gradient. */
static void gradient_columns(const ck_chunk *c, const ck_chunk_buffers *b, int64_t vectors, int64_t first,
                             int64_t outputs, int64_t pixel, int64_t pixels, const char *panel) {
  ck_row_panels_set(c->k, b->pixel + pixel, pixels, 0, b->rows);
  ck_row_product product = {.kernels = c->k,
                            .k = outputs,
                            .rows = pixels,
                            .ld = vectors * c->k->vector,
                            .data = c->g,
                            .ko = b->output + first,
                            .panels = b->rows,
                            .panel = panel,
                            .total = b->columns,
                            .mode = first > 0 ? CK_ADD : CK_STORE};
  ck_multiply_rows(&product);
}

/* One run of one tap: its columns, then the way back. Weights of more output channels than a panel holds come in turn.
 */
static void back_run(const ck_chunk *c, ck_chunk_buffers *b, const ck_chunk_tile *tile, ck_sample_back *back,
                     const char *panel) {
  int64_t c_out = c->call->conv.shape.c_out, outputs;
  if (c_out == 0)
    memset(b->columns, 0, (size_t)(back->pixels * tile->vectors * c->k->vector * c->k->real_size));
  for (int64_t first = 0; first < c_out; first += outputs) {
    outputs = ck_min(c->back_outputs, c_out - first);
    if (outputs < c_out)
      load_weights(c, b, tile, first, outputs, back->tap, 1);
    gradient_columns(c, b, tile->vectors, first, outputs, back->pixel, back->pixels, panel);
  }
  c->k->sample_back(back);
}

static void tile_back(ck_worker *worker, const ck_chunk *c, ck_chunk_buffers *b, const ck_chunk_tile *tile, char *sums,
                      int add) {
  const ck_deform *call = c->call;
  const ck_points *points = &tile->samples->points;
  const int64_t c_out = call->conv.shape.c_out, item = c->k->real_size;
  int64_t panel = c_out <= c->back_outputs ? c_out * tile->vectors * c->k->vector * item : 0, count;
  ck_sample_back back = {
      .points = points, .in_place = tile->samples->region == 0, .lanes = tile->lanes, .g = b->columns, .add = add};
  if (sums) /* x alone is not read, and may not be there */
    back.image = ck_samples_stage(tile->samples, tile->channel, 1, tile->lanes, b->image);
  if (call->dx.data)
    back.dx = ck_samples_start(tile->samples, &call->dx, tile->channel, tile->lanes, b->dx);
  for (int64_t begin = 0; begin < points->taps && !ck_stopped(worker); begin += count) {
    count = ck_min(c->back_taps, points->taps - begin);
    if (panel)
      load_weights(c, b, tile, 0, c_out, begin, count);
    for (int64_t t = 0; t < count; t++) {
      for (int64_t x = 0; x < points->pixels; x += c->run) {
        back.tap = begin + t;
        back.pixel = x;
        back.pixels = ck_min(c->run, points->pixels - x);
        back.sums = sums ? sums + ((back.tap * points->pixels + x) << points->nd) * item : NULL;
        back_run(c, b, tile, &back, b->panel + t * panel);
      }
    }
  }
  if (call->dx.data)
    ck_samples_add(tile->samples, &call->dx, tile->channel, tile->lanes, b->dx);
}

static int needs_sums(const ck_deform *call) { return call->d_offset.data || call->d_mask.data; }

static void back_task(ck_worker *worker, const ck_chunk *c, int64_t part) {
  int64_t group, first, end;
  ck_arena arena = {.base = worker->scratch};
  ck_chunk_buffers b;
  ck_chunk_place(c, &arena, &b);
  ck_chunk_part(c, part, &group, &first, &end);
  char *sums = needs_sums(c->call) ? c->sums + part * c->sums_bytes : NULL;
  for (int64_t tile = first; tile < end && !ck_stopped(worker); tile++) {
    ck_chunk_tile t = ck_chunk_tile_at(c, &b, group, tile);
    tile_back(worker, c, &b, &t, sums, tile > first);
  }
}

/* ---------------------------------------------------------------- offset and mask */

/* Stores one row of the chunk's pixels, given in scratch. */
static void store_row(const ck_chunk *c, const ck_tensor *tensor, int64_t channel, const char *row) {
  const int64_t *stride = tensor->stride, *size = c->box.size, *first = c->box.first;
  ck_drain drain = {.c = row,
                    .c_pixel = 1,
                    .c_lane = size[3],
                    .count = size[3],
                    .lanes = 1,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1]};
  for (int64_t i = 0; i < size[0] * size[1] * size[2]; i++) {
    drain.dst = (char *)tensor->data + (first[0] + i / (size[1] * size[2])) * stride[0] + channel * stride[1] +
                (first[1] + i / size[2] % size[1]) * stride[2] + (first[2] + i % size[2]) * stride[3] +
                first[3] * stride[4];
    c->k->drain(&drain);
    drain.c = (const char *)drain.c + size[3] * c->k->real_size;
  }
}

/* One tap of one offset group: its parts' sums, first to last. */
static void join_task(ck_worker *worker, void *context, int64_t index) {
  const ck_chunk *c = context;
  const ck_deform *call = c->call;
  const ck_conv_shape *s = &call->conv.shape;
  const int64_t *kernel = s->kernel, *taps = c->kblock.taps, nd = call->nd, item = c->k->real_size;
  int64_t all = ck_taps_of(taps), tap = index % all, group = index / all;
  int64_t pixels = ck_box_count(&c->box), stride[3] = {kernel[1] * kernel[2], kernel[2], 1}, row;
  ck_arena arena = {.base = worker->scratch};
  ck_chunk_buffers b;
  ck_chunk_place(c, &arena, &b);
  ck_chunk_tap_offsets(c, stride, tap, 1, &row);
  row += group * ck_taps_of(kernel);
  char *sums = c->sums + group * ck_max(1, c->group_parts) * c->sums_bytes + ((tap * pixels) << nd) * item;
  if (c->group_parts == 0) /* no input channels */
    memset(sums, 0, (size_t)((pixels << nd) * item));
  for (int64_t part = 1; part < c->group_parts; part++)
    c->k->add(sums, sums + part * c->sums_bytes, pixels << nd);
  c->k->sample_slopes(&c->samples[group].points, tap, sums, b.columns);
  for (int64_t d = 0; d < nd && call->d_offset.data; d++)
    store_row(c, &call->d_offset, row * nd + d, b.columns + d * pixels * item);
  if (call->d_mask.data)
    store_row(c, &call->d_mask, row, b.columns + nd * pixels * item);
}

/* ---------------------------------------------------------------- entry */

/* The way back of every part, which takes longer, then the gradient of its weights. */
static void chunk_task(ck_worker *worker, void *context, int64_t index) {
  const ck_chunk *c = context;
  int64_t back = c->call->dx.data || needs_sums(c->call) ? c->call->offset_groups * c->group_parts : 0;
  if (index < back)
    back_task(worker, c, index);
  else
    ck_chunk_grad_weight(worker, c, index - back);
}

static ck_status run_chunk(ck_chunk *c) {
  const ck_deform *call = c->call;
  const ck_run *run = &call->conv.run;
  char *scratch = (char *)run->workspace + c->shared;
  int64_t parts = call->offset_groups * c->group_parts;
  int64_t tasks = parts * ((call->dx.data || needs_sums(call)) + (call->d_weight.data ? c->weight_parts : 0));
  int64_t rows = call->offset_groups * ck_taps_of(c->kblock.taps);
  ck_status status = ck_parallel(tasks, chunk_task, c, run, scratch, c->bytes);
  if (status == CK_OK && needs_sums(call))
    status = ck_parallel(rows, join_task, c, run, scratch, c->bytes);
  return status;
}

/* Halves a box along its longest axis, images first, so that an image is cut alike alone and in a batch. */
static int halve(const ck_box *box, ck_box half[2]) {
  int d = 0;
  for (int i = 1; i < 4 && box->size[0] == 1; i++)
    d = box->size[i] > box->size[d] ? i : d;
  half[0] = half[1] = *box;
  half[0].size[d] = box->size[d] / 2;
  half[1].size[d] = box->size[d] - half[0].size[d];
  half[1].first[d] += half[0].size[d];
  return half[0].size[d] > 0;
}

/* One box; where the image around it is too large to be staged, its halves, unless they are tiny parts of an image: of
 * several images, each is staged or not as it is alone. */
static ck_status run_box(ck_chunk *c, const ck_box *box, const ck_kblock *kblock) {
  ck_box half[2];
  int staged = 1;
  ck_status status = ck_chunk_load(c, box, kblock);
  for (int64_t i = 0; i < c->call->offset_groups && status == CK_OK; i++)
    staged &= c->samples[i].region > 0;
  const int halved = box->size[0] > 1 || ck_box_count(box) >= FEWEST_PIXELS;
  if (!staged && halved && halve(box, half) && status == CK_OK) {
    status = run_box(c, &half[0], kblock);
    return status == CK_OK ? run_box(c, &half[1], kblock) : status;
  }
  if (status == CK_OK)
    status = run_chunk(c);
  c->first = 0;
  return status;
}

static ck_status run_chunks(ck_chunk *c) {
  ck_status status = CK_OK;
  if (c->shared > c->call->conv.run.workspace_bytes)
    return CK_WORKSPACE;
  ck_chunk_share(c);
  for (int64_t part = 0; part < ck_reduction_count(&c->taps); part++) {
    ck_kblock kblock = ck_reduction_block(&c->taps, part);
    c->first = 1;
    for (int64_t i = 0; i < ck_grid_count(&c->grid) && status == CK_OK; i++) {
      ck_box box = ck_grid_box(&c->grid, i);
      status = run_box(c, &box, &kblock);
    }
  }
  return status;
}

/* The gradient of the bias, and that of a weight that meets no pixel, which is zero. */
static ck_status without_samples(const ck_deform *call, int with_weight, int64_t *bytes) {
  ck_conv here = call->conv;
  here.weight = call->d_weight;
  if (!with_weight)
    here.weight.data = NULL;
  return here.weight.data || here.bias ? ck_conv_grad_weight(&here, 0, bytes) : CK_OK;
}

ck_status ck_deform_backward(const ck_deform *call, int64_t *bytes) {
  const ck_conv_shape *s = &call->conv.shape;
  int empty = s->n == 0 || s->out[0] == 0 || s->out[1] == 0 || s->out[2] == 0;
  ck_status status = without_samples(call, empty, bytes);
  ck_conv here = call->conv;
  here.x = call->dx;
  if (status == CK_OK && call->dx.data) /* added to, chunk by chunk */
    status = ck_conv_start_x(&here, 0, bytes);
  int sampled = call->dx.data || needs_sums(call) || call->d_weight.data;
  if (status != CK_OK || empty || !sampled)
    return status;
  ck_chunk c = ck_chunk_make(call);
  if (!bytes)
    return run_chunks(&c);
  *bytes = ck_max(*bytes, c.shared + call->conv.run.threads * c.bytes);
  return CK_OK;
}
