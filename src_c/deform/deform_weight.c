/* Deformable convolution, the gradient of the weight: dW[o][c][t] = sum over pixels of g[o][pixel] *
 * sample[c][t][pixel].
 *
 * For each tap of a tile of channels: a run of pixels is sampled, and is the panel of the micro-kernel, whose rows are
 * output channels and whose k are pixels.  A task alone writes its part of dW, chunk after chunk: no partial sums, the
 * same bits for any number of threads. */
#include "deform_weight.h"

#include <string.h>

#include "dense/multiply.h"

/* acc[output][lane] += sum over the run's pixels of g * sample. */
static void add_products(const ck_chunk *c, const ck_chunk_buffers *b, int64_t vectors, int64_t first, int64_t outputs,
                         int64_t pixel, int64_t pixels, char *acc) {
  ck_row_panels_set(c->k, b->output + first, outputs, 0, b->rows);
  ck_row_product product = {.kernels = c->k,
                            .k = pixels,
                            .rows = outputs,
                            .ld = vectors * c->k->vector,
                            .data = c->g,
                            .ko = b->pixel + pixel,
                            .steady = 1,
                            .panels = b->rows,
                            .panel = b->columns,
                            .total = acc,
                            .mode = CK_ADD};
  ck_multiply_rows(&product);
}

/* The panel acc[tap][output][lane] of taps first_tap.. into dW: stored by the first chunk, added by the others. */
static void drain_panel(const ck_chunk *c, const ck_chunk_buffers *b, const ck_chunk_tile *tile, int64_t first,
                        int64_t outputs, int64_t first_tap, int64_t taps) {
  const ck_conv_shape *s = &c->call->conv.shape;
  const int64_t *stride = c->call->d_weight.stride, ld = tile->vectors * c->k->vector, item = c->k->real_size;
  ck_chunk_tap_offsets(c, stride + 2, first_tap, taps, b->offset);
  int even = 1;
  for (int64_t t = 1; t < taps; t++)
    even &= b->offset[t] - b->offset[0] == t * stride[4];
  ck_drain drain = {.c_pixel = outputs * ld,
                    .c_lane = 1,
                    .count = even ? taps : 1,
                    .lanes = tile->lanes,
                    .dst_pixel = stride[4],
                    .dst_lane = stride[1],
                    .add = !c->first};
  char *base = (char *)c->call->d_weight.data + (tile->weight_group * s->c_out + first) * stride[0] +
               (tile->channel - tile->weight_group * s->c_in) * stride[1];
  for (int64_t o = 0; o < outputs; o++) {
    for (int64_t t = 0; t < taps; t += drain.count) {
      drain.c = b->panel + (t * outputs + o) * ld * item;
      drain.dst = base + o * stride[0] + b->offset[t];
      c->k->drain(&drain);
    }
  }
}

static void tile_gradient(ck_worker *worker, const ck_chunk *c, const ck_chunk_buffers *b, const ck_chunk_tile *tile,
                          int64_t first, int64_t outputs) {
  const ck_points *points = &tile->samples->points;
  int64_t ld = tile->vectors * c->k->vector, panel = outputs * ld * c->k->real_size, count;
  ck_sample sample = {.points = points,
                      .image = ck_samples_stage(tile->samples, tile->channel, 1, tile->lanes, b->image),
                      .in_place = tile->samples->region == 0,
                      .taps = 1,
                      .out = b->columns,
                      .pixel_step = ld};
  for (int64_t begin = 0; begin < points->taps && !ck_stopped(worker); begin += count) {
    count = ck_min(c->weight_taps, points->taps - begin);
    memset(b->panel, 0, (size_t)(count * panel));
    for (int64_t t = 0; t < count; t++) {
      for (int64_t x = 0; x < points->pixels; x += c->run) {
        sample.tap = begin + t;
        sample.pixel = x;
        sample.pixels = ck_min(c->run, points->pixels - x);
        c->k->sample(&sample);
        add_products(c, b, tile->vectors, first, outputs, x, sample.pixels, b->panel + t * panel);
      }
    }
    drain_panel(c, b, tile, first, outputs, begin, count);
  }
}

void ck_chunk_grad_weight(ck_worker *worker, const ck_chunk *c, int64_t index) {
  int64_t group, tile, end, i = index % c->weight_parts, c_out = c->call->conv.shape.c_out;
  int64_t first = c_out * i / c->weight_parts, outputs = c_out * (i + 1) / c->weight_parts - first;
  ck_arena arena = {.base = worker->scratch};
  ck_chunk_buffers b;
  ck_chunk_place(c, &arena, &b);
  ck_chunk_part(c, index / c->weight_parts, &group, &tile, &end);
  for (; tile < end && !ck_stopped(worker); tile++) {
    ck_chunk_tile t = ck_chunk_tile_at(c, &b, group, tile);
    tile_gradient(worker, c, &b, &t, first, outputs);
  }
}
