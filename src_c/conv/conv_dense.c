/* Convolution as correlations: its sources, forward, and the gradient of x, which is transposed convolution. */
#include "conv_dense.h"

#include <math.h>
#include <string.h>

#include "dense/dense_plan.h"
#include "dense/dense_run.h"
#include "dense/dense_runs.h"
#include "dense/lines.h"
#include "dense/sheets.h"
#include "dense/unpacked.h"
#include "dense/winograd.h"

enum { THREAD_PRODUCTS = 1 << 17 }; /* waking a thread takes about as long */

static ck_order order_for(const ck_tensor *tensor, int by_lanes, int64_t item) {
  return by_lanes ? CK_LANES : tensor->stride[1] == item ? CK_INTERLEAVED : CK_PLANES;
}

/* channels: of a group. */
static ck_source source_of(const ck_conv *call, const ck_tensor *tensor, int64_t channels, const int64_t spatial[3],
                           int gradient, int by_lanes) {
  const ck_conv_shape *s = &call->shape;
  int64_t item = call->kernels->real_size;
  ck_source source = {.tensor = *tensor, .lane_channels = channels};
  source.order = order_for(tensor, by_lanes, item);
  source.end = ck_tensor_end(tensor, s->n, s->groups * channels, spatial, item);
  if (gradient && call->activation != CK_IDENTITY) {
    source.act_y = call->act_y;
    source.act_end = ck_tensor_end(&call->act_y, s->n, s->groups * channels, spatial, item);
    source.activation = call->activation;
    source.act_a = call->act_a;
    source.act_b = call->act_b;
  }
  return source;
}

ck_source ck_conv_y_source(const ck_conv *call, int gradient, int by_lanes) {
  return source_of(call, &call->y, call->shape.c_out, call->shape.out, gradient, by_lanes);
}

ck_source ck_conv_x_source(const ck_conv *call, int gradient, int by_lanes) {
  const ck_conv_shape *s = &call->shape;
  ck_source source = source_of(call, &call->x, s->c_in, s->in, gradient, by_lanes);
  if (call->algorithm == CK_IM2COL)
    source.order = CK_COLUMNS;
  for (int d = 0; d < 3; d++)
    source.axis[d] = (ck_axis){.outputs = s->out[d],
                               .source = s->in[d],
                               .base = -s->pad_lo[d],
                               .step = s->stride[d],
                               .taps = s->kernel[d],
                               .tap_step = s->dilation[d],
                               .mode = s->padding_mode};
  return source;
}

/* Columns that are written out are panels of rows; for groups on the lanes they must be narrow. */
static int arrangements_of(const ck_conv *call) {
  int all = 1 << CK_BY_PIXEL;
  if (call->algorithm != CK_IM2COL)
    all |= 1 << CK_BY_CHANNEL;
  return ck_conv_is_direct(call) ? all | 1 << CK_BY_GROUP : all;
}

/* Those that read and store where arrays lie, of all that is set. */
static void add_from_memory(ck_dense *d, const ck_conv *call) {
  if (call->algorithm == CK_IM2COL || ck_unpacked_swap(d))
    return;
  d->arrangements |= ck_unpacked_can(d) << CK_UNPACKED | ck_sheets_can(d) << CK_SHEETS;
  if (ck_conv_is_direct(call))
    d->arrangements |= ck_lines_can(d) << CK_LINES;
}

static void set_weights(ck_dense *d, const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  const int64_t *stride = call->weight.stride;
  d->w = call->weight.data;
  d->w_end = ck_tensor_end(&call->weight, s->groups * s->c_out, s->c_in, s->kernel, d->kernels->real_size);
  d->w_group = s->c_out * stride[0];
  for (int i = 0; i < 3; i++)
    d->w_tap[i] = stride[i + 2];
}

int ck_conv_threads(const ck_conv *call, const int64_t outputs[3]) {
  const ck_conv_shape *s = &call->shape;
  const int64_t all[] = {s->n, s->groups, s->c_in, s->c_out, ck_taps_of(s->kernel), outputs[0], outputs[1], outputs[2]};
  return ck_worth_threads(call->run.threads, all, sizeof all / sizeof *all, THREAD_PRODUCTS);
}

int ck_conv_is_winograd(const ck_conv *call, const ck_dense *d) {
  return call->algorithm == CK_WINOGRAD && ck_winograd_can(d);
}

/* Plans or runs one correlation. */
static ck_status visit(const ck_conv *call, ck_dense *d, const ck_run *run, int64_t *bytes) {
  if (ck_conv_is_winograd(call, d))
    return ck_winograd(d, run, bytes);
  if (!bytes)
    return ck_dense_run(d, run);
  const ck_dense_plan plan = ck_dense_make_plan(d, run);
  *bytes = ck_max(*bytes, plan.packed + run->threads * plan.bytes);
  return CK_OK;
}

static void set_output(ck_dense *d, const ck_conv *call) {
  d->prepared = call->prepared;
  d->panels = call->panels;
  d->add = call->add;
  d->bias = call->bias;
  d->bias_stride = call->bias_stride;
  d->activation = call->activation;
  d->act_a = call->act_a;
  d->act_b = call->act_b;
}

ck_dense ck_conv_axes_dense(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  ck_dense d = {.kernels = call->kernels,
                .n = s->n,
                .groups = s->groups,
                .channels = s->c_in,
                .lanes = s->c_out,
                .dst = call->y,
                .phases = {1, 1, 1}};
  if (!transposed)
    set_output(&d, call);
  d.source = ck_conv_x_source(call, transposed, 0);
  d.arrangements = arrangements_of(call);
  set_weights(&d, call);
  d.w_channel = call->weight.stride[1];
  d.w_lane = call->weight.stride[0];
  return d;
}

/* Whether each coordinate of the output reads its own of the source, and nothing else. */
static int is_itself(const ck_axis *a) {
  return a->taps == 1 && a->step == 1 && a->base == 0 && a->outputs == a->source;
}

/* Whether along axis i each row, of so many elements, begins where the one before ends. */
static int follows(const ck_tensor *tensor, int i, int64_t row) {
  return tensor->stride[i + 2] == row * tensor->stride[4];
}

/* Of one tap, rows that follow one another in both arrays are one row, which may be cut anywhere. */
static void join_rows(ck_dense *d) {
  const ck_source *s = &d->source;
  ck_axis *row = &d->source.axis[2];
  for (int i = 1; i >= 0 && is_itself(row) && is_itself(&s->axis[i]); i--) {
    const int64_t length = row->outputs;
    if (!follows(&s->tensor, i, length) || !follows(&d->dst, i, length) ||
        (s->act_y.data && !follows(&s->act_y, i, length)))
      return;
    row->outputs = row->source = s->axis[i].outputs * length;
    d->source.axis[i].outputs = d->source.axis[i].source = 1;
  }
}

ck_dense ck_conv_forward_dense(const ck_conv *call, int transposed) {
  ck_dense d = ck_conv_axes_dense(call, transposed);
  add_from_memory(&d, call);
  join_rows(&d);
  return d;
}

ck_status ck_conv_forward(const ck_conv *call, int transposed, int64_t *bytes) {
  ck_dense d = ck_conv_forward_dense(call, transposed);
  return visit(call, &d, &call->run, bytes);
}

/* ---------------------------------------------------------------- gradient of x */

static ck_dense grad_x_dense(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  ck_dense d = {
      .kernels = call->kernels, .n = s->n, .groups = s->groups, .channels = s->c_out, .lanes = s->c_in, .dst = call->x};
  if (transposed)
    set_output(&d, call);
  d.source = ck_conv_y_source(call, !transposed, 0);
  d.arrangements = arrangements_of(call);
  set_weights(&d, call);
  d.w_channel = call->weight.stride[0];
  d.w_lane = call->weight.stride[1];
  return d;
}

/* What x begins with: for each channel one value, the activation of its bias. */
typedef struct start {
  const ck_conv *call;
  const char *bias;
  int activation;
  int64_t channels, each; /* each: of a task */
} start;

static int is_zero(const start *s) { return !s->bias && s->activation == CK_IDENTITY; }

/* Of `count` channels. */
static void set_values(const start *s, char *values, int64_t channel, int64_t count) {
  const ck_conv *call = s->call;
  const int64_t item = call->kernels->real_size;
  memset(values, 0, (size_t)(count * item));
  for (int64_t i = 0; i < count && s->bias; i++)
    memcpy(values + i * item, s->bias + (channel + i) * call->bias_stride, (size_t)item);
  if (s->activation == CK_IDENTITY) /* a clip that bounds nothing, after which no zero is -0 */
    call->kernels->activate(values, values, count, CK_CLIP, -INFINITY, INFINITY);
  else
    call->kernels->activate(values, values, count, s->activation, call->act_a, call->act_b);
}

/* What the first `done` bytes hold, again and again. */
static void repeat(char *dst, int64_t done, int64_t size) {
  for (; done < size; done *= 2)
    memcpy(dst + done, dst, (size_t)ck_min(done, size - done));
}

/* The same element again and again: of a few words, each call of memcpy takes as long as this loop. */
static void repeat_value(char *dst, const char *value, int64_t item, int64_t count) {
  enum { WORD = sizeof(uint64_t), HALF = WORD / 2, FEW = 32 };
  const int64_t words = ck_min(count * item / WORD, FEW);
  uint64_t word; /* one element, or two */
  memcpy(&word, value, (size_t)item);
  if (item == HALF)
    memcpy((char *)&word + HALF, &word, HALF);
  memcpy(dst, &word, HALF); /* of one element that is half a word */
  for (int64_t i = 0; i < words; i++)
    memcpy(dst + i * WORD, &word, WORD);
  repeat(dst, ck_max(words * WORD, item), count * item);
}

/* Tasks of so many bytes: a small image's channel is less than it takes to begin one. Values are found for so many
 * channels at a time. */
enum { START_BYTES = 32 * 1024, START_VALUES = 64 };

static void start_channel(const start *s, int64_t index, const char *value) {
  const ck_tensor *x = &s->call->x;
  const int64_t *in = s->call->shape.in, *stride = x->stride, item = s->call->kernels->real_size;
  const int whole = stride[3] == in[2] * item && (in[0] == 1 || stride[2] == in[1] * in[2] * item);
  const int64_t count = whole ? in[0] * in[1] * in[2] : in[2];
  char *image = (char *)x->data + index / s->channels * stride[0] + index % s->channels * stride[1];
  for (int64_t y = 0; y < (whole ? 1 : in[0] * in[1]); y++) {
    char *dst = image + y / in[1] * stride[2] + y % in[1] * stride[3];
    if (is_zero(s))
      memset(dst, 0, (size_t)(count * item));
    else
      repeat_value(dst, value, item, count);
  }
}

/* Some channels of the images. */
static void start_channels(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const start *s = context;
  const int64_t item = s->call->kernels->real_size, all = s->call->shape.n * s->channels;
  const int64_t end = ck_min(all, (index + 1) * s->each);
  char values[START_VALUES * sizeof(double)];
  for (int64_t i = index * s->each, count; i < end; i += count) {
    count = ck_min(ck_min(START_VALUES, end - i), s->channels - i % s->channels);
    set_values(s, values, i % s->channels, count);
    for (int64_t j = 0; j < count; j++)
      start_channel(s, i + j, values + j * item);
  }
}

/* A row of an image whose channels are adjacent. */
static void start_row(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const start *s = context;
  const ck_tensor *x = &s->call->x;
  const int64_t *in = s->call->shape.in, z = index / in[1], size = in[2] * x->stride[4];
  char *dst = (char *)x->data + z / in[0] * x->stride[0] + z % in[0] * x->stride[2] + index % in[1] * x->stride[3];
  if (is_zero(s)) {
    memset(dst, 0, (size_t)size);
    return;
  }
  set_values(s, dst, 0, s->channels);
  repeat(dst, x->stride[4], size);
}

/* By channels or rows where pixels are adjacent; else it is a correlation over no taps. */
ck_status ck_conv_start_x(const ck_conv *call, int transposed, int64_t *bytes) {
  const ck_conv_shape *shape = &call->shape;
  const int64_t item = call->kernels->real_size, channels = shape->groups * shape->c_in, *stride = call->x.stride;
  const int64_t *in = shape->in;
  const int some = in[0] && in[1] && in[2], last = channels > 1 && stride[1] == item && stride[4] == channels * item;
  ck_dense d = grad_x_dense(call, transposed);
  if (!d.add && (last || stride[4] == item)) {
    const int64_t channel = ck_max(1, in[0] * in[1] * in[2] * item);
    start s = {call, d.bias, d.activation, channels, ck_ceil_div(START_BYTES, channel)};
    const int64_t tasks = !some ? 0 : last ? shape->n * in[0] * in[1] : ck_ceil_div(shape->n * channels, s.each);
    return bytes ? CK_OK : ck_parallel(tasks, last ? start_row : start_channels, &s, &call->run, NULL, 0);
  }
  d.arrangements = 1 << CK_BY_PIXEL;
  d.source.act_y.data = NULL;
  for (int i = 0; i < 3; i++) {
    d.source.axis[i] = (ck_axis){.outputs = call->shape.in[i], .source = 1, .step = 1, .tap_step = 1};
    d.phases[i] = 1;
  }
  return visit(call, &d, &call->run, bytes);
}

/* Which phases to compute. A large stride has many without a tap: where fewer than three in five have one, only these
 * are, and the output is filled before, unless it holds what is added. By channel they are scattered, which takes
 * longer than to interleave a few more; of rows of two phases, which registers interleave, twice as many: half of them
 * with a tap are enough (0.45 to 0.93 of the time, in the mean 0.71 of 13 layers; a quarter would take 1.1. Zen 4).
 * Padding that repeats an element is added to it phase by phase, in an order that must not follow from the size: there
 * all are computed, but for a stride of so many that it would take for ever. */
enum { ORDERED_PHASES = 64 };

static void set_phases(ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  int64_t tapped[3] = {ck_tapped_phases(&axis[0]), ck_tapped_phases(&axis[1]), ck_tapped_phases(&axis[2])}, all, few;
  int64_t stride[3];
  for (int i = 0; i < 3; i++) {
    stride[i] = ck_max(1, axis[i].stride);
    d->dst_step[i] = d->phases[i] = ck_max(1, ck_min(axis[i].stride, d->dst_size[i]));
  }
  const int ordered = d->fold == CK_REPLICATE, pairs = d->phases[2] == 2 && d->dst.stride[4] == d->kernels->real_size;
  const double most = pairs ? 0.5 : 0.6;
  const int counted = ck_product(ordered ? stride : d->phases, 3, &all);
  d->tapped = ck_product(tapped, 3, &few) &&
              (!counted || (!d->add && !(ordered && all <= ORDERED_PHASES) && (double)few < most * (double)all));
  if (d->tapped)
    memcpy(d->phases, tapped, sizeof tapped);
}

/* That of the gradient of x over the box lo..hi-1 of padded coordinates: `fold` is the padding mode through which it is
 * added, or 0 to store it. Coordinate p and tap t meet in output (p - t * dilation) / stride, where that is whole. */
static ck_dense region_dense(const ck_conv *call, int transposed, const int64_t lo[3], const int64_t hi[3], int fold) {
  const ck_conv_shape *s = &call->shape;
  ck_dense d = grad_x_dense(call, transposed);
  d.fold = fold;
  for (int i = 0; i < 3; i++) {
    int64_t offset = lo[i] - s->pad_lo[i];
    d.dst_size[i] = hi[i] - lo[i];
    d.source.axis[i] = (ck_axis){.outputs = ck_ceil_div(d.dst_size[i], s->stride[i]),
                                 .source = s->out[i],
                                 .step = 1,
                                 .taps = s->kernel[i],
                                 .tap_step = s->dilation[i],
                                 .stride = s->stride[i],
                                 .shift = lo[i],
                                 .mode = CK_ZEROS};
    d.fold_first[i] = offset;
    d.fold_size[i] = s->in[i];
    if (!fold)
      d.dst.data = (char *)d.dst.data + offset * d.dst.stride[i + 2];
  }
  set_phases(&d);
  add_from_memory(&d, call);
  return d;
}

ck_dense ck_conv_inside_dense(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  int64_t hi[3];
  for (int i = 0; i < 3; i++)
    hi[i] = s->pad_lo[i] + s->in[i];
  return region_dense(call, transposed, s->pad_lo, hi, 0);
}

int ck_conv_region_threads(const ck_conv *call, const ck_dense *d) {
  const ck_axis *a = d->source.axis;
  const int64_t all[] = {d->n,         d->groups,    d->channels, d->lanes, ck_axes_taps(a),
                         a[0].outputs, a[1].outputs, a[2].outputs};
  return ck_worth_threads(call->run.threads, all, sizeof all / sizeof *all, THREAD_PRODUCTS);
}

static ck_status grad_x_region(const ck_conv *call, int transposed, ck_dense *d, int64_t *bytes) {
  ck_status status = CK_OK;
  ck_run run = call->run;
  run.threads = ck_conv_region_threads(call, d);
  if (d->tapped && !d->fold) {
    ck_dense arranged = *d;
    const ck_dense_plan plan = ck_dense_make_plan(&arranged, &run);
    if (!ck_dense_joins_phases(&arranged, &plan))
      status = ck_conv_start_x(call, transposed, bytes);
  }
  return status == CK_OK ? visit(call, d, &run, bytes) : status;
}

ck_status ck_conv_grad_x(const ck_conv *call, int transposed, int64_t *bytes) {
  const ck_conv_shape *s = &call->shape;
  int64_t edge[3][4]; /* the segments of each axis: before, inside, after */
  for (int d = 0; d < 3; d++) {
    edge[d][0] = 0;
    edge[d][1] = s->pad_lo[d];
    edge[d][2] = edge[d][1] + s->in[d];
    edge[d][3] = edge[d][2] + s->pad_hi[d];
  }
  int64_t lo[3], hi[3];
  ck_dense inside = ck_conv_inside_dense(call, transposed);
  ck_status status = grad_x_region(call, transposed, &inside, bytes);
  for (int i = 0; i < 27 && status == CK_OK && s->padding_mode != CK_ZEROS; i++) {
    int part[3] = {i / 9, i / 3 % 3, i % 3}, empty = i == 13;
    for (int d = 0; d < 3; d++) {
      lo[d] = edge[d][part[d]];
      hi[d] = edge[d][part[d] + 1];
      empty |= lo[d] == hi[d];
    }
    if (empty)
      continue;
    ck_dense d = region_dense(call, transposed, lo, hi, s->padding_mode);
    status = grad_x_region(call, transposed, &d, bytes);
  }
  return status;
}
