#include "places.h"

ck_places ck_places_of(const ck_tensor *tensor, int64_t n, int64_t channels, const int64_t spatial[3], int64_t item,
                       int64_t image) {
  ck_places v = {.data = (char *)tensor->data + image * tensor->stride[0],
                 .lane_stride = tensor->stride[1],
                 .end = ck_tensor_end(tensor, n, channels, spatial, item),
                 .count = spatial[0] * spatial[1] * spatial[2],
                 .even = 1};
  for (int d = 0; d < 3; d++) {
    v.size[d] = spatial[d];
    v.stride[d] = tensor->stride[d + 2];
  }
  if (v.size[2] == 1) /* an axis of one element may have any stride */
    v.stride[2] = v.size[1] > 1 ? v.stride[1] : v.stride[0];
  int64_t step = v.stride[2];
  for (int d = 1; d >= 0; d--) {
    step *= v.size[d + 1];
    v.even &= v.size[d] == 1 || v.stride[d] == step;
  }
  return v;
}

int64_t ck_run_at(const ck_places *v, int64_t p, int64_t most, char **at) {
  if (v->even) {
    *at = v->data + p * v->stride[2];
    return most;
  }
  int64_t x = p % v->size[2], y = p / v->size[2] % v->size[1], z = p / v->size[2] / v->size[1];
  *at = v->data + z * v->stride[0] + y * v->stride[1] + x * v->stride[2];
  return ck_min(most, v->size[2] - x);
}

void ck_load_places(const ck_kernels *k, const ck_places *from, int64_t channel, int64_t lanes, int64_t first,
                    int64_t count, void *to) {
  int32_t zero = 0;
  int64_t none = 0;
  for (int64_t q = 0, n; q < count; q += n) {
    char *at;
    n = ck_run_at(from, first + q, ck_min(count - q, INT32_MAX), &at);
    ck_span span = {0, (int32_t)n, 0, from->stride[2]};
    ck_stage stage = {.dst = (char *)to + q * k->vector * k->real_size,
                      .src = at + channel * from->lane_stride,
                      .src_end = from->end,
                      .images = 1,
                      .channels = 1,
                      .lanes = lanes,
                      .src_lane = from->lane_stride,
                      .dst_position = k->vector,
                      .rows = 1,
                      .row_dst = &zero,
                      .row_src = &none,
                      .spans = 1,
                      .span = &span};
    k->stage(&stage);
  }
}

void ck_store_places(const ck_kernels *k, const ck_places *to, int64_t channel, int64_t lanes, int64_t first,
                     int64_t count, const void *from) {
  for (int64_t q = 0, n; q < count; q += n) {
    char *at;
    n = ck_run_at(to, first + q, count - q, &at);
    ck_drain drain = {.c = (const char *)from + q * k->vector * k->real_size,
                      .c_pixel = k->vector,
                      .c_lane = 1,
                      .dst = at + channel * to->lane_stride,
                      .count = n,
                      .lanes = lanes,
                      .dst_pixel = to->stride[2],
                      .dst_lane = to->lane_stride,
                      .copy = 1};
    k->drain(&drain);
  }
}

void ck_load_rows(const ck_kernels *k, void *to, int64_t to_row, const char *from, int64_t from_row, int64_t rows,
                  int64_t step, int64_t count) {
  const int32_t zero = 0;
  const int64_t none = 0;
  const ck_span span = {.length = (int32_t)count, .src_step = step};
  const ck_stage stage = {.dst = to,
                          .src = (char *)from,
                          .images = 1,
                          .channels = rows,
                          .dst_channel = to_row,
                          .src_channel = from_row,
                          .dst_position = 1,
                          .rows = 1,
                          .row_dst = &zero,
                          .row_src = &none,
                          .spans = 1,
                          .span = &span};
  k->stage(&stage);
}
