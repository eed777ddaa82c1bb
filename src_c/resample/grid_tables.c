#include <string.h>

#include "grid_tables.h"

/* One run of positions, axis by axis, the outermost first: returns 0 at once where nothing lies in its rows
 * low..high-1. */
static int locate(const ck_grid_plan *p, const ck_grid_buffers *b, const char *grid, int64_t step, int64_t count,
                  int64_t low, int64_t high, ck_grid_extent *named) {
  const ck_grid_sample *call = p->call;
  for (int d = 3 - call->axes; d < 3; d++) {
    const int outermost = d == 3 - call->axes;
    ck_locate at = {.grid = grid + (2 - d) * call->grid.stride[1],
                    .step = step,
                    .count = count,
                    .size = call->in[d],
                    .first = outermost ? low : 0,
                    .last = outermost ? high : call->in[d],
                    .unit = p->unit[d],
                    .sampling = call->sampling,
                    .border = call->border,
                    .align_corners = call->align_corners,
                    .offset = b->axis.offset[d],
                    .weight = b->axis.weight[d],
                    .slope = b->axis.slope[d],
                    .ld = CK_GRID_CHUNK + p->k->vector,
                    .least = INT64_MAX,
                    .most = -1};
    p->k->grid_locate(&at);
    named->least[d] = ck_min(named->least[d], at.least);
    named->most[d] = ck_max(named->most[d], at.most);
    if (outermost && at.most < 0)
      return 0;
  }
  return 1;
}

/* The product of one factor per axis. */
static void product(const ck_grid_plan *p, char *dst, const char *const factor[3], int64_t count) {
  p->k->multiply(dst, factor[1], factor[2], count);
  if (p->call->axes == 3)
    p->k->multiply(dst, factor[0], dst, count);
}

/* Corner by corner: offsets add, weights multiply, and a derivative has one factor's slope for its weight. */
static void cross(const ck_grid_plan *p, const ck_grid_buffers *b, int64_t column, int64_t count) {
  const int64_t ld = CK_GRID_CHUNK + p->k->vector;
  for (int64_t c = 0; c < p->corners; c++) {
    const int64_t tap[3] = {c / p->taps / p->taps, c / p->taps % p->taps, c % p->taps};
    const int64_t *x = b->axis.offset[2] + tap[2] * ld, *y = b->axis.offset[1] + tap[1] * ld;
    const int64_t *z = p->call->axes == 3 ? b->axis.offset[0] + tap[0] * ld : NULL;
    int64_t *offset = b->offset + c * p->ld + column;
    for (int64_t j = 0; j < count; j++)
      offset[j] = (z ? z[j] : 0) + y[j] + x[j];
    if (p->taps == 1)
      continue;
    const char *weight[3], *factor[3];
    for (int d = 0; d < 3; d++)
      weight[d] = b->axis.weight[d] + tap[d] * ld * p->item;
    product(p, b->weight + (c * p->ld + column) * p->item, weight, count);
    for (int a = 0; a < p->call->axes && b->slope; a++) {
      memcpy(factor, weight, sizeof(factor));
      factor[2 - a] = b->axis.slope[2 - a] + tap[2 - a] * ld * p->item;
      product(p, b->slope + ((a * p->corners + c) * p->ld + column) * p->item, factor, count);
    }
  }
}

/* Tables of positions that read nothing. The weights are written too: a kernel may multiply them by zero. */
static void read_nothing(const ck_grid_plan *p, const ck_grid_buffers *b, int64_t column, int64_t count) {
  const int64_t slopes = b->slope ? p->call->axes * p->corners : 0;
  for (int64_t c = 0; c < p->corners; c++) {
    for (int64_t j = 0; j < count; j++)
      b->offset[c * p->ld + column + j] = CK_NOWHERE;
    if (b->weight)
      memset(b->weight + (c * p->ld + column) * p->item, 0, (size_t)(count * p->item));
  }
  for (int64_t c = 0; c < slopes; c++)
    memset(b->slope + (c * p->ld + column) * p->item, 0, (size_t)(count * p->item));
}

ck_grid_extent ck_grid_fill(const ck_grid_plan *p, const ck_grid_buffers *b, int64_t image, int64_t first,
                            int64_t count, int64_t low, int64_t high) {
  const ck_places grid = ck_grid_coordinates(p, &p->call->grid, image);
  ck_grid_extent named = {{INT64_MAX, INT64_MAX, INT64_MAX}, {-1, -1, -1}};
  if (p->call->axes == 2)
    named.least[0] = named.most[0] = 0;
  for (int64_t q = 0, n; q < count; q += n) {
    char *at;
    n = ck_run_at(&grid, first + q, ck_min(CK_GRID_CHUNK, count - q), &at);
    if (locate(p, b, at, grid.stride[2], n, low, high, &named)) {
      cross(p, b, q, n);
      continue;
    }
    read_nothing(p, b, q, n);
  }
  return named;
}

int ck_grid_names_none(const ck_grid_extent *named) {
  return named->most[0] < 0 || named->most[1] < 0 || named->most[2] < 0;
}

ck_lookup ck_grid_lookup(const ck_grid_plan *p, const ck_grid_buffers *b, int64_t count, int64_t lanes) {
  return (ck_lookup){.count = count,
                     .lanes = lanes,
                     .taps = p->corners,
                     .ld = p->ld,
                     .offset = b->offset,
                     .weight = b->weight,
                     .checked = 1,
                     .whole = 1,
                     .dst = b->values,
                     .dst_pixel = p->vector_bytes,
                     .dst_lane = p->item};
}

ck_lookup ck_grid_lookup_from(const ck_grid_plan *p, const ck_lookup *sample, int64_t q, int64_t count) {
  ck_lookup later = *sample;
  later.offset += q;
  later.weight = sample->weight ? (const char *)sample->weight + q * p->item : NULL;
  later.count = count;
  return later;
}
