#include "weight_pixels.h"

#include "base/dispatch.h"

/* Pixels of a box, but for where those of one of its planes begin. */
static ck_pack pixels_of(const ck_conv *call, const ck_tensor *tensor, const ck_box *box, int64_t step, int64_t lanes,
                         int64_t ld, const int64_t *offset) {
  const ck_conv_shape *s = &call->shape;
  const int64_t *stride = tensor->stride;
  return (ck_pack){.src_end = ck_tensor_end(tensor, s->n, s->groups * s->c_out, s->out, call->kernels->real_size),
                   .ld = ld,
                   .lanes = lanes,
                   .lane_stride = step * stride[1],
                   .nc = box->size[2],
                   .c_stride = stride[3],
                   .nt = box->size[3],
                   .t_off = offset};
}

/* Plane `index` of all that a box has, of channel `first`. */
static const char *plane_at(const ck_tensor *tensor, const ck_box *box, int64_t first, int64_t index) {
  const int64_t n = index / box->size[1], z = index % box->size[1], *stride = tensor->stride;
  return (const char *)tensor->data + first * stride[1] + (box->first[0] + n) * stride[0] +
         (box->first[1] + z) * stride[2] + box->first[2] * stride[3] + box->first[3] * stride[4];
}

int ck_weight_pack_pixels(const ck_conv *call, const ck_tensor *tensor, const ck_box *box, int64_t first, int64_t step,
                          int64_t lanes, int64_t ld, const int64_t *offset, char *panel) {
  ck_pack pack = pixels_of(call, tensor, box, step, lanes, ld, offset);
  int nonfinite = 0;
  for (int64_t i = 0; i < box->size[0] * box->size[1]; i++) {
    pack.panel = panel + i * pack.nc * pack.nt * ld * call->kernels->real_size;
    pack.src = plane_at(tensor, box, first, i);
    nonfinite |= call->kernels->pack(&pack);
  }
  return nonfinite;
}

void ck_weight_sum_pixels(const ck_conv *call, const ck_box *box, int64_t first, int64_t step, int64_t lanes,
                          int64_t ld, const int64_t *offset, char *sums) {
  ck_pack pack = pixels_of(call, &call->y, box, step, lanes, ld, offset);
  for (int64_t i = 0; i < box->size[0] * box->size[1]; i++) {
    pack.src = plane_at(&call->y, box, first, i);
    call->kernels->pack_sums(&pack, sums);
  }
}
