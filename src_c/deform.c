/* Deformable convolution, forward: the engine, over columns sampled at deformed positions. */
#include "deform.h"

ck_status ck_deform_forward(const ck_deform *call, int64_t *bytes) {
  ck_dense d = ck_conv_forward_dense(&call->conv, 0);
  ck_sampler sampler = ck_sampler_make(d.kernels, call);
  ck_reduction blocks = ck_reduction_make(d.channels, call->conv.shape.kernel, ck_kblock_cap(d.kernels));
  int64_t vectors = blocks.parts[0] * d.kernels->vector;
  sampler.whole = vectors > 0 && d.channels % vectors == 0 && sampler.channels % d.kernels->vector == 0;
  d.flavour = CK_BY_PIXEL;
  d.source.order = CK_COLUMNS;
  d.sampler = &sampler;
  if (!bytes)
    return ck_dense_run(&d, &call->conv.run);
  *bytes = call->conv.run.threads * ck_dense_make_plan(&d, call->conv.run.threads).bytes;
  return CK_OK;
}

/* Small problems run on one thread, as in convolution. */
static ck_deform sized(const ck_deform *call) {
  const ck_conv_shape *s = &call->conv.shape;
  int64_t work, all[8] = {s->n,      s->groups * s->c_in, s->c_out,  s->kernel[0] * s->kernel[1] * s->kernel[2],
                          s->out[0], s->out[1],           s->out[2], 1};
  ck_deform here = *call;
  here.conv.algorithm = CK_IMPLICIT_GEMM;
  if (ck_product(all, 8, &work))
    here.conv.run.threads = (int)ck_max(1, ck_min(call->conv.run.threads, work >> 16));
  return here;
}

ck_status ck_deform_workspace(const ck_deform *call, int backward, int64_t *bytes) {
  ck_deform here = sized(call);
  *bytes = 0;
  return backward ? ck_deform_backward(&here, bytes) : ck_deform_forward(&here, bytes);
}

ck_status ck_deform_run(const ck_deform *call, int backward) {
  ck_deform here = sized(call);
  return backward ? ck_deform_backward(&here, NULL) : ck_deform_forward(&here, NULL);
}
