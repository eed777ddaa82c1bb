/* Deformable convolution, forward: the engine, over columns sampled at deformed positions. */
#include "conv/conv_dense.h"
#include "deform_backward.h"
#include "dense/dense_plan.h"
#include "dense/dense_run.h"
#include "dense/sampler.h"

static ck_status forward(const ck_deform *call, int64_t *bytes) {
  ck_dense d = ck_conv_axes_dense(&call->conv, 0);
  ck_sampler sampler = ck_sampler_make(d.kernels, call);
  ck_reduction blocks = ck_dense_reduction(d.kernels, d.channels, call->conv.shape.kernel);
  int64_t vectors = blocks.parts[0] * d.kernels->vector;
  sampler.whole = vectors > 0 && d.channels % vectors == 0 && sampler.channels % d.kernels->vector == 0;
  const int narrow = ck_conv_supports(&call->conv.shape, CK_DIRECT) == CK_OK;
  d.arrangements = 1 << (narrow && ck_sampler_by_group(&sampler) ? CK_BY_GROUP : CK_BY_PIXEL);
  d.source.order = CK_COLUMNS;
  d.sampler = &sampler;
  if (!bytes)
    return ck_dense_run(&d, &call->conv.run);
  const ck_dense_plan plan = ck_dense_make_plan(&d, &call->conv.run);
  *bytes = plan.packed + call->conv.run.threads * plan.bytes;
  return CK_OK;
}

enum { THREAD_PRODUCTS = 1 << 16 }; /* of a thread, at least: a product costs more than a convolution's */

/* The call with the threads that it is worth, and the engine's algorithm. */
static ck_deform sized(const ck_deform *call) {
  const ck_conv_shape *s = &call->conv.shape;
  const int64_t all[] = {s->n, s->groups * s->c_in, s->c_out, ck_taps_of(s->kernel), s->out[0], s->out[1], s->out[2]};
  ck_deform here = *call;
  here.conv.algorithm = CK_IMPLICIT_GEMM;
  here.conv.run.threads = ck_worth_threads(call->conv.run.threads, all, sizeof all / sizeof *all, THREAD_PRODUCTS);
  return here;
}

/* Where there is nothing to write there is nothing to do, however many images of nothing there are. */
static int writes_nothing(const ck_deform *call, int backward) {
  const ck_conv_shape *s = &call->conv.shape;
  int no_x = s->groups * s->c_in == 0, no_y = s->groups * s->c_out == 0;
  if (!backward)
    return s->n == 0 || no_y;
  int images = (call->dx.data && !no_x) || call->d_offset.data || call->d_mask.data;
  int sums = (call->d_weight.data && !no_x && !no_y) || (call->conv.bias && !no_y);
  return !sums && (s->n == 0 || !images);
}

ck_status ck_deform_workspace(const ck_deform *call, int backward, int64_t *bytes) {
  ck_deform here = sized(call);
  *bytes = 0;
  if (writes_nothing(call, backward))
    return CK_OK;
  return backward ? ck_deform_backward(&here, bytes) : forward(&here, bytes);
}

ck_status ck_deform_run(const ck_deform *call, int backward) {
  ck_deform here = sized(call);
  if (writes_nothing(call, backward))
    return CK_OK;
  return backward ? ck_deform_backward(&here, NULL) : forward(&here, NULL);
}
