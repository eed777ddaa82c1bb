#include "geometry.h"

#include <string.h>

int ck_product(const int64_t *sizes, int count, int64_t *product) {
  int64_t total = 1;
  int zero = 0;
  for (int i = 0; i < count; i++) {
    zero |= sizes[i] == 0;
    if (sizes[i] != 0 && __builtin_mul_overflow(total, sizes[i], &total))
      return 0;
  }
  *product = zero ? 0 : total;
  return 1;
}

int ck_worth_threads(int most, const int64_t *factors, int count, int64_t each) {
  int64_t work;
  return ck_product(factors, count, &work) ? (int)ck_max(1, ck_min(most, work / each)) : most;
}

int64_t ck_map_axis(int64_t coordinate, int64_t size, int mode) {
  if (coordinate >= 0 && coordinate < size)
    return coordinate;
  int64_t mapped = -1;
  if (mode == CK_REFLECT)
    mapped = coordinate < 0 ? -coordinate : 2 * (size - 1) - coordinate;
  else if (mode == CK_REPLICATE)
    mapped = coordinate < 0 ? 0 : size - 1;
  else if (mode == CK_CIRCULAR)
    mapped = coordinate < 0 ? coordinate + size : coordinate - size;
  return mapped >= 0 && mapped < size ? mapped : -1;
}

int64_t ck_tap_offset(const ck_axis *axis, int64_t t) {
  return axis->stride ? -ck_floor_div(t * axis->tap_step - axis->shift, axis->stride) : t * axis->tap_step;
}

int64_t ck_tap_phase(const ck_axis *axis, int64_t t) {
  int64_t at = t * axis->tap_step - axis->shift;
  return axis->stride > 1 ? at - ck_floor_div(at, axis->stride) * axis->stride : 0;
}

int64_t ck_axis_at(const ck_axis *axis, int64_t o, int64_t t) {
  return axis->base + o * axis->step + ck_tap_offset(axis, t);
}

int64_t ck_tapped_phases(const ck_axis *axis) {
  return ck_min(axis->taps, axis->stride / ck_gcd(axis->stride, axis->tap_step));
}

/* At least what n outputs and any m neighbouring taps reach. */
static int64_t hull(const ck_axis *axis, int64_t n, int64_t m) {
  int64_t taps = (m - 1) * axis->tap_step;
  return (n - 1) * axis->step + (axis->stride ? ck_ceil_div(taps, axis->stride) : taps) + 1;
}

/* How the positions of a window lie along an axis. Of a hull each is beside the next coordinate's. Sorted, positions of
 * one residue of the step are beside each other: taps `period` apart share a run of them, and lie `apart` from another.
 * Or each tap has positions of its own. */
typedef struct layout {
  int hull;
  int64_t period, apart;
} layout;

static layout layout_of(const ck_axis *axis, int64_t n, int64_t m) {
  if (hull(axis, n, m) <= n * m * ck_max(1, axis->holes) && !(axis->adjacent && axis->step > 1))
    return (layout){.hull = 1};
  const int64_t common = ck_max(1, ck_gcd(axis->step, axis->tap_step));
  layout l = {.period = ck_min(axis->step / common, ck_max(1, m)), .apart = axis->tap_step / common};
  if (!axis->adjacent || l.apart > n)
    l = (layout){.period = ck_max(1, m), .apart = n};
  return l;
}

int64_t ck_axis_extent(const ck_axis *axis, int64_t n, int64_t m) {
  layout l = layout_of(axis, n, m);
  if (l.hull)
    return hull(axis, n, m);
  int64_t runs = ck_min(l.period, m);
  return runs * n + (m - runs) * l.apart;
}

/* Where all taps have positions of their own, a hull of fewer may be short enough, and longer than those. */
int64_t ck_axis_bound(const ck_axis *axis, int64_t n, int64_t m) {
  const int64_t extent = ck_axis_extent(axis, n, m);
  return axis->holes > 1 ? ck_max(extent, ck_min(hull(axis, n, m), n * m * axis->holes)) : extent;
}

int64_t ck_axis_step(const ck_axis *axis, int64_t n, int64_t m) { return layout_of(axis, n, m).hull ? axis->step : 1; }

int ck_axis_block(const ck_axis *axis, int64_t o0, int64_t n, int64_t t0, int64_t m, int64_t *source, int32_t *output,
                  int32_t *tap) {
  const layout l = layout_of(axis, n, m);
  int64_t corner = axis->base + o0 * axis->step;
  int padded = 0;
  if (l.hull) {
    int64_t first = ck_tap_offset(axis, t0), last = ck_tap_offset(axis, t0 + m - 1), extent = hull(axis, n, m);
    int64_t lowest = ck_min(first, last), reach = (n - 1) * axis->step + ck_max(first, last) - lowest + 1;
    for (int64_t o = 0; o < n; o++)
      output[o] = (int32_t)(o * axis->step);
    for (int64_t t = 0; t < m; t++)
      tap[t] = (int32_t)(ck_tap_offset(axis, t0 + t) - lowest);
    for (int64_t p = 0; p < extent; p++) {
      source[p] = p < reach ? ck_map_axis(corner + lowest + p, axis->source, axis->mode) : -1;
      padded |= p < reach && source[p] < 0; /* the hull is that of any m taps */
    }
    return padded;
  }
  for (int64_t o = 0; o < n; o++)
    output[o] = (int32_t)o;
  for (int64_t run = 0, at = 0; run < ck_min(l.period, m); run++) {
    int64_t length = n + (m - 1 - run) / l.period * l.apart;
    for (int64_t t = run; t < m; t += l.period)
      tap[t] = (int32_t)(at + t / l.period * l.apart);
    for (int64_t p = 0; p < length; p++, at++) {
      source[at] = ck_map_axis(ck_axis_at(axis, o0 + p, t0 + run), axis->source, axis->mode);
      padded |= source[at] < 0;
    }
  }
  return padded;
}

/* Outputs *low..*high-1, of any number, read inside the source for tap t. */
static void inside(const ck_axis *axis, int64_t t, int64_t *low, int64_t *high) {
  int64_t at = ck_axis_at(axis, 0, t), step = ck_max(1, axis->step);
  *low = at >= 0 ? 0 : ck_ceil_div(-at, step);
  *high = at >= axis->source ? 0 : ck_floor_div(axis->source - 1 - at, step) + 1;
}

void ck_axis_reach(const ck_axis *axis, int64_t t, int64_t o0, int64_t n, int64_t *first, int64_t *end) {
  int64_t low = o0, high = o0 + n;
  if (axis->mode == CK_ZEROS)
    inside(axis, t, &low, &high);
  *first = ck_max(o0, low);
  *end = ck_max(*first, ck_min(o0 + n, high));
}

/* Whether any of n outputs reads inside the source for tap t. */
static int is_taken(const ck_axis *axis, int64_t t, int64_t o0, int64_t n) {
  int64_t first, end;
  ck_axis_reach(axis, t, o0, n, &first, &end);
  return first < end;
}

void ck_axis_taken(const ck_axis *axis, int64_t o0, int64_t n, int64_t *first, int64_t *count) {
  int64_t end = axis->taps;
  *first = 0;
  if (axis->mode == CK_ZEROS) {
    while (*first < end && !is_taken(axis, *first, o0, n))
      ++*first;
    while (end > *first && !is_taken(axis, end - 1, o0, n))
      end--;
  }
  *count = end - *first;
}

int64_t ck_axis_alike(const ck_axis *axis, int64_t o0, int64_t n) {
  int64_t end = o0 + n, low, high;
  for (int64_t t = 0; t < axis->taps && axis->mode == CK_ZEROS; t++) {
    inside(axis, t, &low, &high);
    if (low > o0 && low < end)
      end = low;
    if (high > o0 && high < end)
      end = high;
  }
  return end - o0;
}

void ck_axis_inner(const ck_axis *axis, int64_t *first, int64_t *end) {
  int64_t low, high;
  *first = 0;
  *end = axis->outputs;
  for (int64_t t = 0; t < axis->taps && axis->mode == CK_ZEROS; t++) {
    inside(axis, t, &low, &high);
    *first = ck_max(*first, ck_min(low, axis->outputs));
    *end = ck_min(*end, ck_max(high, 0));
  }
}

void ck_axis_columns(const ck_axis *axis, int64_t first, int64_t columns, int64_t *inner, int64_t *inner_end,
                     int64_t (*taken)[2]) {
  int64_t begin, end;
  ck_axis_inner(axis, &begin, &end);
  *inner = ck_min(ck_max(0, begin - first), columns);
  *inner_end = ck_max(*inner, ck_min(end - first, columns));
  for (int64_t o = 0; o < columns; o++) {
    if (o >= *inner && o < *inner_end)
      continue;
    ck_axis_taken(axis, first + o, 1, &taken[0][0], &taken[0][1]);
    (*taken)[1] += (*taken)[0];
    taken++;
  }
}

int ck_axis_is_near(const ck_axis *axis) {
  return -axis->base < INT32_MAX && axis->step < INT32_MAX && axis->tap_step < INT32_MAX && axis->stride < INT32_MAX &&
         axis->shift < INT32_MAX;
}

int ck_axis_is_inside(const ck_axis *axis) {
  const int64_t end = axis->outputs - 1, last = axis->taps - 1;
  return ck_min(ck_axis_at(axis, 0, 0), ck_axis_at(axis, 0, last)) >= 0 &&
         ck_max(ck_axis_at(axis, end, 0), ck_axis_at(axis, end, last)) < axis->source;
}

/* Segment i of an axis. */
static void segment_of(const ck_grid *grid, int axis, int i, int64_t *first, int64_t *size) {
  int64_t end = i < 2 ? grid->edge[axis][i] : grid->size[axis];
  *first = i > 0 ? grid->edge[axis][i - 1] : 0;
  *size = end - *first;
}

ck_grid ck_grid_make_cut(const int64_t size[4], const int64_t block[4], const int64_t edge[4][2]) {
  ck_grid grid = {0};
  int64_t first, length;
  for (int d = 0; d < 4; d++) {
    grid.size[d] = size[d];
    grid.edge[d][0] = edge[d][0];
    grid.edge[d][1] = edge[d][1];
    for (int i = 0; i < 3; i++) {
      segment_of(&grid, d, i, &first, &length);
      grid.parts[d] += grid.segment_parts[d][i] = length ? ck_ceil_div(length, ck_max(1, block[d])) : 0;
    }
  }
  return grid;
}

ck_grid ck_grid_make(const int64_t size[4], const int64_t block[4]) {
  const int64_t edge[4][2] = {{size[0], size[0]}, {size[1], size[1]}, {size[2], size[2]}, {size[3], size[3]}};
  return ck_grid_make_cut(size, block, edge);
}

int64_t ck_grid_count(const ck_grid *grid) { return grid->parts[0] * grid->parts[1] * grid->parts[2] * grid->parts[3]; }

int64_t ck_grid_largest(const ck_grid *grid, int dimension) {
  int64_t largest = 0, first, size;
  for (int i = 0; i < 3; i++) {
    segment_of(grid, dimension, i, &first, &size);
    largest = ck_max(largest, size ? ck_ceil_div(size, grid->segment_parts[dimension][i]) : 0);
  }
  return largest;
}

void ck_grid_part(const ck_grid *grid, int axis, int64_t index, int64_t *first, int64_t *size) {
  int i = 0;
  int64_t start, length;
  for (; index >= grid->segment_parts[axis][i]; i++)
    index -= grid->segment_parts[axis][i];
  segment_of(grid, axis, i, &start, &length);
  *first = start + ck_part_start(length, grid->segment_parts[axis][i], index);
  *size = start + ck_part_start(length, grid->segment_parts[axis][i], index + 1) - *first;
}

ck_box ck_grid_box(const ck_grid *grid, int64_t index) {
  ck_box box;
  for (int d = 3; d >= 0; d--) {
    if (grid->parts[d] == 1) {
      box.first[d] = 0;
      box.size[d] = grid->size[d];
      continue;
    }
    ck_grid_part(grid, d, index % grid->parts[d], &box.first[d], &box.size[d]);
    index /= grid->parts[d];
  }
  return box;
}

void ck_row_block(const int64_t size[4], int64_t target, int64_t cuts, int64_t block[4]) {
  int64_t room = target;
  block[3] = ck_max(1, ck_min(ck_ceil_div(size[3], cuts), room));
  for (int d = 2; d >= 0; d--) {
    room /= block[d + 1];
    block[d] = block[d + 1] == size[d + 1] || d == 2 ? ck_max(1, ck_min(size[d], room)) : 1;
  }
}

/* The largest side whose power `axes` is at most `room`. */
static int64_t side_of(int64_t room, int axes) {
  int64_t side = 1;
  while ((axes < 2 ? 1 : side + 1) * (axes < 3 ? 1 : side + 1) * (side + 1) <= room)
    side++;
  return side;
}

void ck_square_block(const int64_t size[4], int64_t target, int64_t aspect, int64_t block[4]) {
  int64_t room = target;
  int axes = (size[1] > 1) + (size[2] > 1) + (size[3] > 1), whole = 1;
  for (int d = 3; d >= 1; d--) {
    int64_t side = side_of(room, axes);
    block[d] = ck_max(1, size[d] <= side * aspect ? ck_min(size[d], room) : side);
    room = ck_max(1, room / block[d]);
    axes -= size[d] > 1;
    whole &= block[d] >= size[d];
  }
  block[0] = whole ? ck_max(1, ck_min(size[0], room)) : 1;
}

int64_t ck_box_count(const ck_box *box) { return box->size[0] * box->size[1] * box->size[2] * box->size[3]; }

int ck_box_alike(const ck_box *a, const ck_box *b) {
  return memcmp(a->size, b->size, sizeof a->size) == 0 &&
         memcmp(a->first + 1, b->first + 1, sizeof a->first - sizeof *a->first) == 0;
}

void ck_tap_offsets(const int64_t taps[3], const int64_t stride[3], int64_t *offset) {
  for (int64_t z = 0; z < taps[0]; z++)
    for (int64_t y = 0; y < taps[1]; y++)
      for (int64_t x = 0; x < taps[2]; x++)
        *offset++ = z * stride[0] + y * stride[1] + x * stride[2];
}

ck_reduction ck_reduction_make(int64_t channels, const int64_t taps[3], int64_t cap) {
  int64_t row = taps[2], plane = taps[1] * taps[2], all = taps[0] * plane;
  ck_reduction r = {.channels = channels, .taps = {taps[0], taps[1], taps[2]}};
  if (channels == 0 || all == 0)
    return r; /* parts are zero: nothing to sum */
  r.parts[0] = ck_ceil_div(channels, ck_max(1, cap / all));
  r.parts[1] = all <= cap ? 1 : plane > cap ? taps[0] : ck_ceil_div(taps[0], cap / plane);
  r.parts[2] = plane <= cap ? 1 : row > cap ? taps[1] : ck_ceil_div(taps[1], cap / row);
  r.parts[3] = row <= cap ? 1 : ck_ceil_div(row, cap);
  return r;
}

int64_t ck_reduction_count(const ck_reduction *r) { return r->parts[0] * r->parts[1] * r->parts[2] * r->parts[3]; }

ck_kblock ck_reduction_block(const ck_reduction *r, int64_t index) {
  ck_kblock block;
  for (int d = 3; d >= 0; d--) {
    int64_t i = 0, size = d ? r->taps[d - 1] : r->channels, first = 0, count = size;
    if (r->parts[d] != 1) { /* each division takes as long as a product of a small tile */
      i = index % r->parts[d];
      index /= r->parts[d];
      first = ck_part_start(size, r->parts[d], i);
      count = ck_part_start(size, r->parts[d], i + 1) - first;
    }
    if (d) {
      block.tap[d - 1] = first;
      block.taps[d - 1] = count;
    } else {
      block.channel = first;
      block.channels = count;
    }
  }
  return block;
}

ck_kblock ck_reduction_largest(const ck_reduction *r) {
  ck_kblock block = {0};
  if (ck_reduction_count(r) == 0)
    return block;
  block.channels = ck_ceil_div(r->channels, r->parts[0]);
  for (int d = 0; d < 3; d++)
    block.taps[d] = ck_ceil_div(r->taps[d], r->parts[d + 1]);
  return block;
}

const char *ck_tensor_end(const ck_tensor *tensor, int64_t n, int64_t channels, const int64_t spatial[3],
                          int64_t item) {
  const int64_t sizes[5] = {n, channels, spatial[0], spatial[1], spatial[2]}, *stride = tensor->stride;
  int64_t reach = item;
  for (int d = 0; d < 5; d++)
    reach += sizes[d] > 1 && stride[d] > 0 ? (sizes[d] - 1) * stride[d] : 0;
  return tensor->data ? (const char *)tensor->data + reach : NULL;
}
