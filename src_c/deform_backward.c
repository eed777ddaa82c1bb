/* Deformable convolution, the gradients: weight and bias as in convolution, over sampled columns; x, offset and mask in
 * one pass of their own.
 *
 * There pixels are worked off in chunks, image after image.  Within a chunk, tasks are runs of channel blocks, a block
 * being one vector of channels.  For each block: columns of the gradient (weight times gradient, one vector for each
 * point) are consumed at once by dx, which the task alone writes for these channels, and by the derivatives of offset
 * and mask.  The sums for offset and mask are kept block by block and added in the blocks' order when the chunk's tasks
 * are done: no atomics, the same bits for any number of threads. */
#include <string.h>

#include "deform.h"

enum { OUT_BLOCK_BYTES = 160 * 1024, PARTIAL_LIMIT = 1024 * 1024 };

typedef struct back_plan {
  const ck_deform *call;
  const ck_kernels *k;
  ck_sampler sampler;
  ck_grid chunks;
  ck_reduction taps;                 /* tap boxes, a channel at a time */
  int64_t pixels, points, tap_count; /* of the largest chunk and tap box */
  int64_t ld, tiles, out_block;      /* output channels: lanes of a panel, panels, and how many weights are packed */
  int64_t blocks, parts;             /* vectors of channels, and the tasks they are dealt to */
  int64_t bytes, partial_bytes;      /* scratch of a thread; sums of one block */
  ck_box box;                        /* the chunk at work */
  ck_kblock kblock;
} back_plan;

typedef struct back_buffers {
  ck_samples samples;
  char *g, *act, *weights, *g_columns, *dx;
  int64_t *offset, *y_off, *act_off, *dx_at;
  int32_t *ko, *ro, *row;
} back_buffers;

static void place(const back_plan *p, ck_arena *arena, back_buffers *b) {
  const int64_t item = p->k->real_size, vector = p->k->vector, i32 = sizeof(int32_t), i64 = sizeof(int64_t);
  const int64_t outputs = p->tiles * p->ld;
  ck_samples_place(&b->samples, &p->sampler, p->pixels, p->tap_count, arena);
  b->g = ck_take(arena, p->pixels * outputs * item);
  b->act = ck_take(arena, p->call->conv.activation ? p->pixels * p->ld * item : 0);
  b->weights = ck_take(arena, p->tap_count * p->out_block * vector * item);
  b->g_columns = ck_take(arena, p->points * vector * item);
  b->dx = ck_take(arena, p->call->dx.data ? CK_REGION_BYTES + 64 : 0);
  b->offset = ck_take(arena, p->tap_count * i64);
  b->y_off = ck_take(arena, p->pixels * i64);
  b->act_off = ck_take(arena, p->pixels * i64);
  b->dx_at = ck_take(arena, p->points * ((int64_t)1 << p->call->nd) * i64);
  b->ko = ck_take(arena, p->out_block * i32);
  b->ro = ck_take(arena, p->pixels * i32);
  b->row = ck_take(arena, p->tap_count * p->out_block * i32);
}

/* ---------------------------------------------------------------- plan */

/* Channel blocks in order: each unit of channels that share groups is cut into vectors. */
static int64_t blocks_per_unit(const back_plan *p) { return ck_ceil_div(p->sampler.channels, p->k->vector); }

static int64_t block_channel(const back_plan *p, int64_t block) {
  int64_t per_unit = blocks_per_unit(p);
  return block / per_unit * p->sampler.channels + block % per_unit * p->k->vector;
}

static void set_chunk(back_plan *p, int64_t target) {
  const ck_conv_shape *s = &p->call->conv.shape;
  int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]}, block[4] = {1, 1, 1, 1}, room = target;
  for (int d = 3; d >= 1; d--) {
    block[d] = d == 3 || block[d + 1] == size[d + 1] ? ck_max(1, ck_min(size[d], room)) : 1;
    room = ck_max(1, room / block[d]);
  }
  p->chunks = ck_grid_make(size, block);
  p->pixels = 1;
  for (int d = 1; d < 4; d++)
    p->pixels *= ck_grid_largest(&p->chunks, d);
  p->points = p->pixels * p->tap_count;
  p->partial_bytes = ck_round_up(p->points * (p->call->nd + 1) * p->k->real_size, 64);
  ck_arena count = {0};
  back_buffers b;
  place(p, &count, &b);
  p->bytes = count.used;
}

static back_plan make_plan(const ck_deform *call) {
  static const int64_t targets[] = {256, 224, 196, 168, 140, 112, 84, 56, 28, 14, 7, 4, 2, 1};
  const ck_conv_shape *s = &call->conv.shape;
  back_plan p = {.call = call, .k = ck_kernels_for(call->conv.dtype)};
  int64_t vector = p.k->vector;
  p.sampler = ck_sampler_make(p.k, call);
  p.taps = ck_reduction_make(1, s->kernel, ck_kblock_cap(p.k) / vector * 8); /* 288 taps of 16 channels in float32 */
  ck_kblock largest = ck_reduction_largest(&p.taps);
  p.tap_count = ck_max(1, largest.taps[0] * largest.taps[1] * largest.taps[2]);
  p.ld = s->c_out <= vector ? vector : 2 * vector;
  p.tiles = ck_ceil_div(s->c_out, p.ld);
  p.out_block = ck_max(p.ld, OUT_BLOCK_BYTES / (p.tap_count * vector * p.k->real_size) / p.ld * p.ld);
  p.out_block = ck_min(p.out_block, ck_max(1, p.tiles * p.ld));
  p.blocks = s->groups * s->c_in / ck_max(1, p.sampler.channels) * blocks_per_unit(&p);
  p.parts = ck_max(1, ck_min(p.blocks, p.blocks >= 8 * call->conv.run.threads ? 2 * call->conv.run.threads
                                                                              : call->conv.run.threads));
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    set_chunk(&p, targets[i]);
    if (p.bytes <= CK_THREAD_BYTES && p.blocks * p.partial_bytes <= PARTIAL_LIMIT)
      break;
  }
  return p;
}

/* ---------------------------------------------------------------- one block of channels */

/* The gradient of the chunk, transposed: panel[tile][pixel][lane], times the activation's derivative. */
static void load_gradient(const back_plan *p, back_buffers *b, int64_t group) {
  const ck_conv *conv = &p->call->conv;
  int64_t pixels = ck_box_count(&p->box), c_out = conv->shape.c_out;
  for (int64_t x = 0; x < p->box.size[3]; x++) {
    b->y_off[x] = x * conv->y.stride[4];
    b->act_off[x] = x * conv->act_y.stride[4];
  }
  for (int64_t tile = 0; tile < p->tiles; tile++) {
    int64_t first = group * c_out + tile * p->ld, lanes = ck_min(p->ld, c_out - tile * p->ld);
    char *panel = b->g + tile * pixels * p->ld * p->k->real_size;
    ck_conv_pack_pixels(conv, &conv->y, &p->box, first, 1, lanes, p->ld, b->y_off, panel);
    if (!conv->activation)
      continue;
    ck_conv_pack_pixels(conv, &conv->act_y, &p->box, first, 1, lanes, p->ld, b->act_off, b->act);
    p->k->activation_gradient(panel, b->act, pixels * p->ld, conv->activation, conv->act_a, conv->act_b);
  }
}

/* weights[tap][output channel][lane] of `outputs` output channels from `first` on. */
static void load_weights(const back_plan *p, back_buffers *b, int64_t group, int64_t first, int64_t outputs,
                         int64_t channel, int64_t lanes) {
  const ck_conv *conv = &p->call->conv;
  const ck_conv_shape *s = &conv->shape;
  const int64_t *stride = conv->weight.stride, *tap = p->kblock.tap, *taps = p->kblock.taps;
  int64_t sizes[5] = {s->groups * s->c_out, s->c_in, s->kernel[0], s->kernel[1], s->kernel[2]}, all = 0;
  for (int64_t z = 0; z < taps[0]; z++)
    for (int64_t y = 0; y < taps[1]; y++)
      for (int64_t x = 0; x < taps[2]; x++)
        b->offset[all++] = z * stride[2] + y * stride[3] + x * stride[4];
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t t = 0; t < all; t++)
      b->row[o * all + t] = (int32_t)(t * outputs + o);
  ck_pack pack = {.panel = b->weights,
                  .ld = p->k->vector,
                  .lanes = lanes,
                  .lane_stride = stride[1],
                  .nc = outputs,
                  .src = (const char *)conv->weight.data + (group * s->c_out + first) * stride[0] +
                         (channel - group * s->c_in) * stride[1] + tap[0] * stride[2] + tap[1] * stride[3] +
                         tap[2] * stride[4],
                  .src_end = ck_end(conv->weight.data, sizes, stride, 5, p->k->real_size),
                  .c_stride = stride[0],
                  .nt = all,
                  .t_off = b->offset,
                  .row = b->row};
  p->k->pack(&pack);
}

/* g_columns[tap][pixel][lane] = sum over output channels of weight * gradient. */
static void gradient_columns(const back_plan *p, back_buffers *b, int64_t group, int64_t channel, int64_t lanes) {
  const ck_kernels *k = p->k;
  int64_t pixels = ck_box_count(&p->box), c_out = p->call->conv.shape.c_out, vector_bytes = k->vector * k->real_size;
  int64_t taps = b->samples.points.taps, panels = ck_ceil_div(pixels, k->max_height);
  memset(b->g_columns, 0, (size_t)(taps * pixels * vector_bytes));
  for (int64_t x = 0; x < pixels; x++)
    b->ro[x] = (int32_t)(x * p->ld);
  for (int64_t first = 0; first < c_out; first += p->out_block) {
    int64_t outputs = ck_min(p->out_block, c_out - first);
    load_weights(p, b, group, first, outputs, channel, lanes);
    for (int64_t o = 0; o < outputs; o++)
      b->ko[o] = (int32_t)((first + o) / p->ld * pixels * p->ld + (first + o) % p->ld);
    for (int64_t t = 0; t < taps; t++) {
      for (int64_t i = 0; i < panels; i++) {
        int64_t at = ck_panel_start(pixels, panels, i), height = ck_panel_start(pixels, panels, i + 1) - at;
        k->rows[0][height](outputs, b->g, b->ko, b->ro + at, b->weights + t * outputs * vector_bytes,
                           b->g_columns + (t * pixels + at) * vector_bytes, 1);
      }
    }
  }
}

/* Corner places in dx where it is written in place; staged, it lies like the image. */
static void dx_places(const back_plan *p, back_buffers *b) {
  const ck_points *points = &b->samples.points;
  const int64_t *stride = p->call->dx.stride, nd = points->nd, all = points->taps * points->pixels;
  for (int64_t e = 0; e < all; e++) {
    for (int64_t q = 0; q < (int64_t)1 << nd; q++) {
      int64_t at = 0, *place = &b->dx_at[(e << nd) + q];
      for (int64_t d = 0; d < nd; d++)
        at += (points->low[d][e] + (q >> (nd - 1 - d) & 1)) * stride[5 - nd + d];
      *place = points->at[(e << nd) + q] < 0 ? -1 : at;
    }
  }
}

/* Adds the staged part of dx to the user's. */
static void store_dx(const back_plan *p, back_buffers *b, char *base, int64_t lanes) {
  const ck_points *points = &b->samples.points;
  const int64_t *stride = p->call->dx.stride, item = p->k->real_size;
  int64_t extent[3] = {1, 1, 1}, least[3] = {0, 0, 0};
  for (int d = 0; d < points->nd; d++) {
    extent[3 - points->nd + d] = ck_max(0, points->most[d] - points->least[d] + 1);
    least[3 - points->nd + d] = points->least[d];
  }
  ck_drain drain = {.c = b->dx,
                    .c_pixel = p->k->vector,
                    .c_lane = 1,
                    .count = extent[2],
                    .lanes = lanes,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1],
                    .add = 1};
  for (int64_t z = 0; z < extent[0] && extent[2]; z++) {
    for (int64_t y = 0; y < extent[1]; y++) {
      drain.dst = base + (least[0] + z) * stride[2] + (least[1] + y) * stride[3] + least[2] * stride[4];
      p->k->drain(&drain);
      drain.c = (const char *)drain.c + extent[2] * p->k->vector * item;
    }
  }
}

/* dx, and this block's sums for offset and mask. */
static void sample_gradients(const back_plan *p, back_buffers *b, int64_t channel, int64_t lanes, char *partial) {
  const ck_tensor *dx = &p->call->dx;
  ck_sample source = ck_samples_source(&b->samples, channel, lanes);
  ck_sample_back back = {.points = &b->samples.points,
                         .image = source.image,
                         .in_place = source.in_place,
                         .lanes = lanes,
                         .lane_stride = source.lane_stride,
                         .g = b->g_columns,
                         .partial = partial};
  if (!dx->data) {
    p->k->sample_back(&back);
    return;
  }
  char *base = (char *)dx->data + p->box.first[0] * dx->stride[0] + channel * dx->stride[1];
  if (b->samples.region) {
    back.dx = b->dx;
    memset(b->dx, 0, (size_t)(b->samples.region * p->k->vector * p->k->real_size));
    p->k->sample_back(&back);
    store_dx(p, b, base, lanes);
    return;
  }
  dx_places(p, b);
  back.dx = base;
  back.dx_at = b->dx_at;
  back.dx_lane_stride = dx->stride[1];
  p->k->sample_back(&back);
}

static void back_task(ck_worker *worker, void *context, int64_t index) {
  const back_plan *p = context;
  const ck_deform *call = p->call;
  const ck_conv_shape *s = &call->conv.shape;
  int64_t end = p->blocks * (index + 1) / p->parts, per_group = s->groups * s->c_in / call->offset_groups;
  int64_t group = -1;
  ck_arena arena = {.base = worker->scratch};
  back_buffers b = {0};
  place(p, &arena, &b);
  for (int64_t block = p->blocks * index / p->parts; block < end && !ck_stopped(worker); block++) {
    int64_t channel = block_channel(p, block), lanes = ck_sampler_lanes(&p->sampler, channel, s->groups * s->c_in);
    if (group != channel / s->c_in)
      load_gradient(p, &b, group = channel / s->c_in);
    ck_samples_locate(&b.samples, &p->box, &p->kblock, channel / per_group);
    if (call->d_offset.data || call->d_mask.data) /* x alone is not read, and may not be there */
      ck_samples_stage(&b.samples, channel, lanes);
    char *partial = (char *)call->conv.run.workspace + block * p->partial_bytes;
    gradient_columns(p, &b, group, channel, lanes);
    sample_gradients(p, &b, channel, lanes, call->d_offset.data || call->d_mask.data ? partial : NULL);
  }
}

/* ---------------------------------------------------------------- sums over blocks */

/* Stores one row of the chunk's pixels, given in scratch. */
static void store_row(const back_plan *p, const ck_tensor *tensor, int64_t channel, const char *row) {
  const int64_t *stride = tensor->stride, *size = p->box.size, *first = p->box.first;
  ck_drain drain = {.c = row,
                    .c_pixel = 1,
                    .c_lane = size[3],
                    .count = size[3],
                    .lanes = 1,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1]};
  for (int64_t z = 0; z < size[1]; z++) {
    for (int64_t y = 0; y < size[2]; y++) {
      drain.dst = (char *)tensor->data + first[0] * stride[0] + channel * stride[1] + (first[1] + z) * stride[2] +
                  (first[2] + y) * stride[3] + first[3] * stride[4];
      p->k->drain(&drain);
      drain.c = (const char *)drain.c + size[3] * p->k->real_size;
    }
  }
}

/* One tap of one offset group: its blocks' sums, first to last. */
static void join_task(ck_worker *worker, void *context, int64_t index) {
  const back_plan *p = context;
  const ck_deform *call = p->call;
  const ck_conv_shape *s = &call->conv.shape;
  const int64_t *taps = p->kblock.taps, item = p->k->real_size, nd = call->nd;
  int64_t all = taps[0] * taps[1] * taps[2], tap = index % all, group = index / all;
  int64_t pixels = ck_box_count(&p->box), per_group = p->blocks / call->offset_groups;
  int64_t z = p->kblock.tap[0] + tap / (taps[1] * taps[2]), y = p->kblock.tap[1] + tap / taps[2] % taps[1];
  int64_t full = (z * s->kernel[1] + y) * s->kernel[2] + p->kblock.tap[2] + tap % taps[2];
  int64_t row = group * s->kernel[0] * s->kernel[1] * s->kernel[2] + full;
  (void)worker;
  for (int64_t d = 0; d <= nd; d++) {
    const ck_tensor *tensor = d < nd ? &call->d_offset : &call->d_mask;
    if (!tensor->data)
      continue;
    char *sum =
        (char *)call->conv.run.workspace + group * per_group * p->partial_bytes + (d * all + tap) * pixels * item;
    if (per_group == 0) /* no input channels */
      memset(sum, 0, (size_t)(pixels * item));
    for (int64_t block = 1; block < per_group; block++)
      p->k->add(sum, sum + block * p->partial_bytes, pixels);
    store_row(p, tensor, d < nd ? row * nd + d : row, sum);
  }
}

/* ---------------------------------------------------------------- entry */

static ck_status run_chunks(back_plan *p, int64_t shared) {
  const ck_deform *call = p->call;
  const ck_run *run = &call->conv.run;
  char *scratch = (char *)run->workspace + shared;
  ck_status status = CK_OK;
  int joins = call->d_offset.data || call->d_mask.data;
  for (int64_t part = 0; part < ck_reduction_count(&p->taps); part++) {
    p->kblock = ck_reduction_block(&p->taps, part);
    for (int64_t i = 0; i < ck_grid_count(&p->chunks) && status == CK_OK; i++) {
      p->box = ck_grid_box(&p->chunks, i);
      status = ck_parallel(p->parts, back_task, p, run, scratch, p->bytes);
      int64_t rows = call->offset_groups * p->kblock.taps[0] * p->kblock.taps[1] * p->kblock.taps[2];
      if (status == CK_OK && joins)
        status = ck_parallel(rows, join_task, p, run, NULL, 0);
    }
  }
  return status;
}

static ck_status weight_and_bias(const ck_deform *call, int64_t *bytes) {
  const ck_conv_shape *s = &call->conv.shape;
  ck_sampler sampler = ck_sampler_make(ck_kernels_for(call->conv.dtype), call);
  ck_conv here = call->conv;
  here.weight = call->d_weight;
  if (!here.weight.data && !here.bias)
    return CK_OK;
  if (!here.weight.data || s->n == 0 || s->c_in == 0)
    return ck_conv_grad_weight(&here, 0, bytes);
  return ck_conv_grad_weight_sampled(&here, &sampler, bytes);
}

ck_status ck_deform_backward(const ck_deform *call, int64_t *bytes) {
  const ck_conv_shape *s = &call->conv.shape;
  ck_status status = weight_and_bias(call, bytes);
  ck_conv here = call->conv;
  here.x = call->dx;
  if (status == CK_OK && call->dx.data) /* added to, chunk by chunk */
    status = ck_conv_start_x(&here, 0, CK_IDENTITY, bytes);
  if (status != CK_OK || s->n == 0 || !(call->dx.data || call->d_offset.data || call->d_mask.data))
    return status;
  back_plan p = make_plan(call);
  int64_t shared = ck_max(p.blocks, call->offset_groups) * p.partial_bytes;
  if (!bytes)
    return run_chunks(&p, shared);
  *bytes = ck_max(*bytes, shared + call->conv.run.threads * p.bytes);
  return CK_OK;
}
