/* Forward convolution, the gradient of x (which is transposed convolution), and the family's two entry points. */
#include <string.h>

#include "conv.h"
#include "cpu.h"
#include "winograd.h"

/* Groups this narrow would leave most lanes of a dense panel empty: the lanes hold groups instead.  Up to 8 channels a
 * group that was the faster way on every layer tried (32 groups of 4: 3.4 times). */
enum { NARROW = 8 };

static int direct_can(const ck_conv_shape *s) {
  return s->groups > 1 && (s->c_in == 1 || (s->c_in <= NARROW && s->c_out <= NARROW));
}

int ck_conv_is_direct(const ck_conv *call) { return call->algorithm == CK_DIRECT; }

/* A gradient of x of this many phases and more is computed by way of its columns, of which each phase would see few:
 * with 16 of them that took 0.4 to 1.1 of the time on layers of 3 to 64 channels, with hundreds and a single channel a
 * twentieth. Columns of fewer positions would leave most lanes empty. */
enum { MANY_PHASES = 16, FEW_POSITIONS = 4 };

static int winograd_can(const ck_conv_shape *s) {
  return s->kernel[0] > 0 && s->kernel[1] == 3 && s->kernel[2] == 3 && s->stride[0] == 1 && s->stride[1] == 1 &&
         s->stride[2] == 1;
}

/* Fewer channels leave vectors of them empty; fewer tiles are too few rows for the weights that have to be transformed,
 * and tiles that lie beyond the image by half cost more than they save. With AVX2 layers within these bounds took 0.35
 * to 0.6 of implicit_gemm's time, 8 images or 1. */
enum { FEWEST_CHANNELS = 16, FEWEST_TILES = 4, TILE_OUTPUTS = 8 };

static int winograd_pays(const ck_conv_shape *s, ck_conv_op op) {
  const int64_t *outputs = op == CK_GRAD_X || op == CK_TRANSPOSED ? s->in : s->out;
  if (!winograd_can(s) || s->c_in < FEWEST_CHANNELS || s->c_out < FEWEST_CHANNELS)
    return 0;
  int64_t y = outputs[1] / s->dilation[1], x = outputs[2] / s->dilation[2]; /* of a phase */
  int64_t rows = ck_ceil_div(y, CK_WINOGRAD_TILE), columns = ck_ceil_div(x, CK_WINOGRAD_TILE);
  return ck_min(rows, FEWEST_TILES) * ck_min(columns, FEWEST_TILES) >= FEWEST_TILES &&
         (double)y * (double)x >= TILE_OUTPUTS * (double)rows * (double)columns;
}

int ck_conv_rule(const ck_conv_shape *s, ck_conv_op op) {
  if (direct_can(s))
    return CK_DIRECT;
  if (op != CK_GRAD_WEIGHT && op != CK_TRANSPOSED_GRAD_WEIGHT && winograd_pays(s, op))
    return CK_WINOGRAD;
  if (op != CK_GRAD_X && op != CK_TRANSPOSED)
    return CK_IMPLICIT_GEMM;
  int64_t phases = 1, positions = 1;
  for (int i = 0; i < 3; i++) { /* no further than they matter: products of all may not fit */
    phases = ck_min(phases * ck_min(ck_min(s->stride[i], s->in[i]), MANY_PHASES), MANY_PHASES);
    positions = ck_min(positions * ck_min(s->out[i], FEW_POSITIONS), FEW_POSITIONS);
  }
  return phases == MANY_PHASES && positions == FEW_POSITIONS ? CK_IM2COL : CK_IMPLICIT_GEMM;
}

ck_status ck_conv_supports(const ck_conv_shape *shape, ck_conv_op op, int algorithm) {
  (void)op;
  int can = algorithm == CK_DIRECT ? direct_can(shape) : algorithm != CK_WINOGRAD || winograd_can(shape);
  return can ? CK_OK : CK_UNSUPPORTED;
}

static ck_order order_for(const ck_tensor *tensor, int depthwise, int64_t item) {
  return depthwise ? CK_LANES : tensor->stride[1] == item ? CK_INTERLEAVED : CK_PLANES;
}

static const char *tensor_end(const ck_tensor *tensor, int64_t n, int64_t channels, const int64_t spatial[3],
                              int64_t item) {
  int64_t sizes[5] = {n, channels, spatial[0], spatial[1], spatial[2]};
  return tensor->data ? ck_end(tensor->data, sizes, tensor->stride, 5, item) : NULL;
}

/* channels: of a group. */
static ck_source source_of(const ck_conv *call, const ck_tensor *tensor, int64_t channels, const int64_t spatial[3],
                           int gradient, int depthwise) {
  const ck_conv_shape *s = &call->shape;
  int64_t item = call->kernels->real_size;
  ck_source source = {.tensor = *tensor, .lane_channels = channels};
  source.order = order_for(tensor, depthwise, item);
  source.end = tensor_end(tensor, s->n, s->groups * channels, spatial, item);
  if (gradient && call->activation != CK_IDENTITY) {
    source.act_y = call->act_y;
    source.act_end = tensor_end(&call->act_y, s->n, s->groups * channels, spatial, item);
    source.activation = call->activation;
    source.act_a = call->act_a;
    source.act_b = call->act_b;
  }
  return source;
}

ck_source ck_conv_y_source(const ck_conv *call, int gradient, int depthwise) {
  return source_of(call, &call->y, call->shape.c_out, call->shape.out, gradient, depthwise);
}

ck_source ck_conv_x_source(const ck_conv *call, int gradient, int depthwise) {
  const ck_conv_shape *s = &call->shape;
  ck_source source = source_of(call, &call->x, s->c_in, s->in, gradient, depthwise);
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

static void set_weights(ck_dense *d, const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  const int64_t *stride = call->weight.stride;
  int64_t sizes[5] = {s->groups * s->c_out, s->c_in, s->kernel[0], s->kernel[1], s->kernel[2]};
  d->w = call->weight.data;
  d->w_end = ck_end(d->w, sizes, stride, 5, d->kernels->real_size);
  d->w_group = s->c_out * stride[0];
  for (int i = 0; i < 3; i++)
    d->w_tap[i] = stride[i + 2];
}

/* Small problems run on one thread: waking a second one costs about as long as 2^18 multiply-adds. */
static int threads_for(const ck_conv *call, const int64_t outputs[3]) {
  const ck_conv_shape *s = &call->shape;
  int64_t all[8] = {s->n,       s->groups,  s->c_in,   s->c_out, s->kernel[0] * s->kernel[1] * s->kernel[2],
                    outputs[0], outputs[1], outputs[2]};
  int64_t work;
  if (!ck_product(all, 8, &work))
    return call->run.threads;
  return (int)ck_max(1, ck_min(call->run.threads, work >> 17));
}

static int by_winograd(const ck_conv *call, const ck_dense *d) {
  return call->algorithm == CK_WINOGRAD && ck_winograd_can(d);
}

/* Plans or runs one correlation. */
static ck_status visit(const ck_conv *call, ck_dense *d, const ck_run *run, int64_t *bytes) {
  if (by_winograd(call, d))
    return ck_winograd(d, run, bytes);
  if (!bytes)
    return ck_dense_run(d, run);
  *bytes = ck_max(*bytes, run->threads * ck_dense_make_plan(d, run).bytes);
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

ck_dense ck_conv_forward_dense(const ck_conv *call, int transposed) {
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

/* A correlation over no taps. */
ck_status ck_conv_start_x(const ck_conv *call, int transposed, int activation, int64_t *bytes) {
  ck_dense d = grad_x_dense(call, transposed);
  d.activation = activation;
  d.arrangements = 1 << CK_BY_PIXEL;
  d.source.act_y.data = NULL;
  for (int i = 0; i < 3; i++) {
    d.source.axis[i] = (ck_axis){.outputs = call->shape.in[i], .source = 1, .step = 1, .tap_step = 1};
    d.phases[i] = 1;
  }
  return visit(call, &d, &call->run, bytes);
}

/* Which phases to compute. A large stride has many without a tap: where those are more than a task's, only the others
 * are, and the output is filled before, unless it holds what is added. */
static void set_phases(ck_dense *d, const int64_t size[3]) {
  const ck_axis *axis = d->source.axis;
  int64_t tapped[3] = {ck_tapped_phases(&axis[0]), ck_tapped_phases(&axis[1]), ck_tapped_phases(&axis[2])}, all, few;
  for (int i = 0; i < 3; i++)
    d->dst_step[i] = d->phases[i] = ck_max(1, ck_min(axis[i].stride, size[i]));
  int counted = ck_product(d->phases, 3, &all);
  d->tapped = ck_product(tapped, 3, &few) && (!counted || (!d->add && all > CK_TASK_PHASES && few < all));
  if (d->tapped)
    memcpy(d->phases, tapped, sizeof tapped);
}

/* The gradient over the box lo..hi-1 of padded coordinates; fold is the padding mode through which it is added, or 0 to
 * store it.  Coordinate p and tap t meet in output (p - t * dilation) / stride, where that is whole. */
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
  set_phases(&d, d.dst_size);
  return d;
}

static int region_threads(const ck_conv *call, const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  const int64_t outputs[3] = {axis[0].outputs, axis[1].outputs, axis[2].outputs};
  return threads_for(call, outputs);
}

static ck_status grad_x_region(const ck_conv *call, int transposed, const int64_t lo[3], const int64_t hi[3], int fold,
                               int64_t *bytes) {
  ck_dense d = region_dense(call, transposed, lo, hi, fold);
  ck_status status = CK_OK;
  if (d.tapped && !fold)
    status = ck_conv_start_x(call, transposed, d.activation, bytes);
  ck_run run = call->run;
  run.threads = region_threads(call, &d);
  return status == CK_OK ? visit(call, &d, &run, bytes) : status;
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
  int64_t lo[3] = {edge[0][1], edge[1][1], edge[2][1]}, hi[3] = {edge[0][2], edge[1][2], edge[2][2]};
  ck_status status = grad_x_region(call, transposed, lo, hi, 0, bytes);
  for (int i = 0; i < 27 && status == CK_OK && s->padding_mode != CK_ZEROS; i++) {
    int part[3] = {i / 9, i / 3 % 3, i % 3}, empty = i == 13;
    for (int d = 0; d < 3; d++) {
      lo[d] = edge[d][part[d]];
      hi[d] = edge[d][part[d] + 1];
      empty |= lo[d] == hi[d];
    }
    if (!empty)
      status = grad_x_region(call, transposed, lo, hi, s->padding_mode, bytes);
  }
  return status;
}

/* ---------------------------------------------------------------- entry */

static ck_status route(const ck_conv *call, ck_conv_op op, int64_t *bytes) {
  switch (op) {
  case CK_FORWARD:
  case CK_TRANSPOSED_GRAD_X:
    return ck_conv_forward(call, op == CK_TRANSPOSED_GRAD_X, bytes);
  case CK_GRAD_X:
  case CK_TRANSPOSED:
    if (call->algorithm == CK_IM2COL)
      return ck_im2col_grad_x(call, op == CK_TRANSPOSED, bytes);
    return ck_conv_grad_x(call, op == CK_TRANSPOSED, bytes);
  case CK_GRAD_WEIGHT:
  case CK_TRANSPOSED_GRAD_WEIGHT:
    return ck_conv_grad_weight(call, op == CK_TRANSPOSED_GRAD_WEIGHT, bytes);
  case CK_IM2COL_OP:
    return ck_im2col(call, bytes);
  case CK_COL2IM_OP:
    return ck_col2im(call, bytes);
  }
  return CK_UNSUPPORTED;
}

/* Where there is nothing to write there is nothing to do, however many images or groups of nothing there are. */
static int writes_nothing(const ck_conv *call, ck_conv_op op) {
  const ck_conv_shape *s = &call->shape;
  int no_x = s->groups == 0 || s->c_in == 0, no_y = s->groups == 0 || s->c_out == 0;
  switch (op) {
  case CK_FORWARD:
  case CK_TRANSPOSED_GRAD_X:
    return s->n == 0 || no_y;
  case CK_GRAD_X:
  case CK_TRANSPOSED:
  case CK_COL2IM_OP:
  case CK_IM2COL_OP:
    return s->n == 0 || no_x;
  case CK_GRAD_WEIGHT: /* without images, zeros */
    return no_y;
  case CK_TRANSPOSED_GRAD_WEIGHT:
    return no_x;
  }
  return 0;
}

/* The call with its algorithm named, and with the threads that it is worth. */
static ck_conv settled(const ck_conv *call, ck_conv_op op) {
  ck_conv here = *call;
  if (call->algorithm == CK_AUTO)
    here.algorithm = ck_conv_rule(&call->shape, op);
  here.run.threads = threads_for(call, call->shape.out);
  return here;
}

/* The one correlation that a call is, or its main one where padding is folded; 0 if it is none. */
static int one_dense(ck_conv *call, ck_conv_op op, ck_dense *d) {
  const ck_conv_shape *s = &call->shape;
  if (op == CK_FORWARD || op == CK_TRANSPOSED_GRAD_X) {
    *d = ck_conv_forward_dense(call, op == CK_TRANSPOSED_GRAD_X);
    return 1;
  }
  if ((op != CK_GRAD_X && op != CK_TRANSPOSED) || call->algorithm == CK_IM2COL)
    return 0;
  int64_t hi[3];
  for (int i = 0; i < 3; i++)
    hi[i] = s->pad_lo[i] + s->in[i];
  *d = region_dense(call, op == CK_TRANSPOSED, s->pad_lo, hi, 0);
  call->run.threads = region_threads(call, d);
  return 1;
}

/* Transformed weights of more than half the last cache would come from memory: a task's own transform is faster. */
static int64_t kept_bytes(int64_t bytes) { return bytes <= ck_cpu_cache(3) / 2 ? bytes : 0; }

/* Panels lack the taps of phases that an output narrower than the stride does not have, and a wider one does. */
static int has_all_phases(const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  return d->phases[0] >= axis[0].stride && d->phases[1] >= axis[1].stride && d->phases[2] >= axis[2].stride;
}

ck_panels ck_conv_panels(const ck_conv *call, ck_conv_op op) {
  ck_conv here = settled(call, op);
  ck_dense d;
  if (writes_nothing(call, op) || !one_dense(&here, op, &d) || !has_all_phases(&d))
    return (ck_panels){0};
  if (by_winograd(&here, &d)) {
    ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    return (ck_panels){.kind = CK_ARRANGEMENTS, .bytes = kept_bytes(ck_winograd_panels(&d, &plan))};
  }
  ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
  return (ck_panels){.kind = d.arrangement, .bytes = ck_dense_panels(&d, &plan)};
}

void ck_conv_pack(const ck_conv *call, ck_conv_op op, void *panels) {
  ck_conv here = settled(call, op);
  ck_dense d;
  one_dense(&here, op, &d);
  if (by_winograd(&here, &d)) {
    ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    ck_winograd_pack(&d, &plan, here.run.workspace, panels);
    return;
  }
  ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
  ck_dense_pack(&d, &plan, here.run.workspace, panels);
}

ck_status ck_conv_workspace(const ck_conv *call, ck_conv_op op, int64_t *bytes) {
  ck_conv here = settled(call, op);
  *bytes = 0;
  return writes_nothing(call, op) ? CK_OK : route(&here, op, bytes);
}

/* How a correlation is cut. */
static void explain_dense(const ck_conv *call, ck_dense *d, ck_explanation *e) {
  if (by_winograd(call, d)) {
    ck_winograd_plan plan = ck_winograd_make_plan(d, &call->run);
    e->chosen = plan.cycles;
    for (int i = 0; i < 4; i++)
      e->block[i] = ck_grid_largest(&plan.grid, i) * (i < 2 ? 1 : CK_WINOGRAD_TILE);
    e->channels = ck_min(plan.chunk, d->channels);
    e->lanes = ck_min(plan.direct.tile_lanes, d->lanes);
    e->tasks = plan.tasks;
    return;
  }
  for (int i = 0; i < CK_ARRANGEMENTS; i++)
    e->cycles[i] = ck_dense_cycles(d, i, &call->run);
  ck_dense_plan plan = ck_dense_make_plan(d, &call->run);
  const ck_kblock kb = ck_reduction_largest(&plan.reduction);
  e->arrangement = d->arrangement;
  e->chosen = plan.cycles;
  for (int i = 0; i < 4; i++)
    e->block[i] = ck_grid_largest(&plan.grid, i);
  e->channels = kb.channels;
  e->lanes = ck_min(plan.tile_lanes, d->arrangement == CK_BY_GROUP ? d->groups : d->lanes);
  e->tasks = plan.tasks;
}

ck_status ck_conv_explain(const ck_conv *call, ck_conv_op op, ck_explanation *e) {
  ck_conv here = settled(call, op);
  ck_dense d;
  *e = (ck_explanation){.algorithm = here.algorithm, .arrangement = -1};
  if (op == CK_GRAD_WEIGHT || op == CK_TRANSPOSED_GRAD_WEIGHT)
    e->algorithm = here.algorithm == CK_WINOGRAD ? CK_IMPLICIT_GEMM : here.algorithm;
  if (!writes_nothing(call, op) && one_dense(&here, op, &d))
    explain_dense(&here, &d, e);
  e->threads = here.run.threads;
  return ck_conv_workspace(call, op, &e->workspace);
}

ck_status ck_conv_run(const ck_conv *call, ck_conv_op op) {
  ck_conv here = settled(call, op);
  if (ck_conv_supports(&call->shape, op, call->algorithm) != CK_OK)
    return CK_UNSUPPORTED;
  return writes_nothing(call, op) ? CK_OK : route(&here, op, NULL);
}

_Static_assert((int)CK_ARRANGEMENTS <= (int)CK_MOST_ARRANGEMENTS, "an explanation has room for all");
