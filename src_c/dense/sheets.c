#include "sheets.h"

#include <string.h>

#include "dense_cost.h"

/* Bytes of masks at most; products of a task, at least, where there are others for the other threads; planes of a task
 * at most; bytes of the source that a block of rows reads: they stay in level 1, or near it. */
enum { MASK_BYTES = 64 * 1024, LEAST_PRODUCTS = 1 << 16, MOST_PLANES = 256, BLOCK_BYTES = 64 * 1024 };

static int64_t size_of(const ck_dense *d) { return d->kernels->real_size; }

/* Where vector `index` of a row begins. */
static int64_t column_of(const ck_dense *d, int64_t index) {
  const int64_t vector = d->kernels->vector, last = d->source.axis[2].outputs - vector;
  return last < 0 ? 0 : ck_min(index * vector, last);
}

static int64_t vectors_of(const ck_dense *d) { return ck_ceil_div(d->source.axis[2].outputs, d->kernels->vector); }

static int reads_beside(const ck_dense *d, int64_t column) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t end = column + d->kernels->vector - 1;
  return ck_min(ck_axis_at(x, column, 0), ck_axis_at(x, column, 2)) < 0 ||
         ck_max(ck_axis_at(x, end, 0), ck_axis_at(x, end, 2)) >= x->source;
}

/* How many vectors of a row, from the first on and from the last on, read beyond it. */
static void sides_of(const ck_dense *d, int64_t *left, int64_t *right) {
  const int64_t vectors = vectors_of(d);
  for (*left = 0; *left < vectors && reads_beside(d, column_of(d, *left));)
    ++*left;
  for (*right = 0; *right < vectors - *left && reads_beside(d, column_of(d, vectors - 1 - *right));)
    ++*right;
}

static int64_t mask_bytes(const ck_dense *d) {
  int64_t left, right;
  sides_of(d, &left, &right);
  return (left + right) * 3 * d->kernels->vector * size_of(d);
}

/* Whether rows and columns are both read one by one, or both every second. */
static int fits_step(const ck_axis *axis) {
  return axis[1].step == axis[2].step && (axis[2].step == 1 || (axis[2].step == 2 && axis[1].tap_step == 1));
}

/* With half a vector of columns or more. */
int ck_sheets_can(const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  const int64_t item = size_of(d), *stride = d->source.tensor.stride;
  int can = ck_dense_is_depthwise(d) && ck_dense_is_plain(d) && axis[0].taps == 1 && axis[1].taps == 3 &&
            axis[2].taps == 3 && fits_step(axis) && ck_axis_is_inside(&axis[0]) && stride[4] == item &&
            d->dst.stride[4] == item && stride[3] >= axis[2].source * item;
  for (int i = 0; i < 3; i++)
    can &= stride[i] >= 0;
  return can && d->n * d->groups * d->lanes * axis[0].outputs * axis[1].outputs > 0 &&
         2 * axis[2].outputs > d->kernels->vector && mask_bytes(d) <= MASK_BYTES;
}

/* Between output rows that share what they read. */
static int64_t distance_of(const ck_axis *y) { return y->step == 1 ? ck_max(ck_taps_apart(y), -ck_taps_apart(y)) : 1; }

typedef struct buffers {
  char *mask, *weights;
} buffers;

static buffers place(const ck_dense *d, ck_arena *arena) {
  buffers b;
  b.mask = ck_take(arena, mask_bytes(d));
  b.weights = ck_take(arena, 9 * size_of(d));
  return b;
}

/* Estimated cycles of a plane of a task. */
static double plane_cycles(const ck_dense *d, const ck_dense_plan *p) {
  const ck_axis *y = &d->source.axis[1];
  const int64_t rows = ck_grid_largest(&p->grid, 2), lines = ck_min(distance_of(y), rows);
  const double read = (double)(rows * y->step + lines * (3 - y->step));
  return (double)lines * ck_cost.sheet + (double)vectors_of(d) * read * ck_cost.sheet_row[y->step - 1];
}

void ck_sheets_plan(const ck_dense *d, const ck_run *run, ck_dense_plan *p) {
  const ck_axis *axis = d->source.axis;
  const int64_t line = ck_max(1, axis[2].source * axis[1].step * size_of(d)), all = axis[1].outputs;
  const int64_t sizes[4] = {1, d->n, axis[0].outputs, d->groups * d->lanes}, planes = sizes[1] * sizes[2] * sizes[3];
  int64_t rows = ck_max(8 * axis[1].tap_step, BLOCK_BYTES / line), each = MOST_PLANES, part[4];
  if (run->threads > 1) {
    const int64_t row = 9 * axis[2].outputs, tasks = 4 * run->threads, wanted = ck_ceil_div(planes, tasks);
    each = ck_min(each, ck_max(wanted, ck_ceil_div(LEAST_PRODUCTS, ck_max(1, row * all))));
    if (planes < tasks)
      rows = ck_min(rows, ck_max(ck_ceil_div(all * planes, tasks), ck_ceil_div(LEAST_PRODUCTS, ck_max(1, row))));
  }
  ck_row_block(sizes, each, 1, part);
  const int64_t block[4] = {part[1], part[2], rows, axis[2].outputs};
  p->grid = ck_grid_make(p->grid.size, block);
  p->outer = sizes[3];
  p->each = ck_ceil_div(p->outer, ck_ceil_div(p->outer, part[3])); /* all tasks alike */
  p->tasks = ck_ceil_div(p->outer, p->each) * ck_grid_count(&p->grid);
  p->tile_lanes = 1;
  ck_arena arena = {0};
  place(d, &arena);
  p->bytes = arena.used;
  const double of_task = (double)(p->each * ck_grid_largest(&p->grid, 0) * ck_grid_largest(&p->grid, 1));
  p->cycles = (double)ck_ceil_div(p->tasks, run->threads) * (ck_cost.task + of_task * plane_cycles(d, p));
}

/* Writes the masks of vectors first..end-1, and says which taps need them. */
static int set_masks(const ck_dense *d, int64_t first, int64_t end, char *mask) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t item = size_of(d);
  int taps = 0;
  for (int64_t i = first; i < end; i++) {
    for (int64_t t = 0; t < 3; t++) {
      for (int64_t j = 0; j < d->kernels->vector; j++, mask += item) {
        const int64_t at = ck_axis_at(x, column_of(d, i) + j, t);
        const int inside = at >= 0 && at < x->source;
        memset(mask, inside ? 0xff : 0, (size_t)item);
        taps |= !inside << t;
      }
    }
  }
  return taps;
}

/* What is the same for all planes. */
static ck_sheet sheet_of(const ck_dense *d, const buffers *b) {
  const ck_axis *axis = d->source.axis;
  const int64_t item = size_of(d), vectors = vectors_of(d);
  ck_sheet sheet = {.width = axis[2].source * item,
                    .columns = axis[2].outputs,
                    .step = (int)axis[2].step,
                    .memory = d->source.tensor.data,
                    .memory_end = d->source.end,
                    .mask = b->mask,
                    .bounds = ck_bounds_of(d->activation, d->act_a, d->act_b)};
  for (int t = 0; t < 3; t++)
    sheet.column[t] = ck_axis_at(&axis[2], 0, t) * item;
  sides_of(d, &sheet.left, &sheet.right);
  ck_axis_inner(&axis[2], &sheet.inner, &sheet.inner_end);
  sheet.left_taps = set_masks(d, 0, sheet.left, b->mask);
  sheet.right_taps = set_masks(d, vectors - sheet.right, vectors, b->mask + sheet.left * 3 * d->kernels->vector * item);
  return sheet;
}

/* Of output rows row..row_end-1 the first one and those that share what they read with it; where taps go up as rows go
 * down, the last of these comes first. Where they are in a plane of the source, and in one of the output, bytes from
 * its start on. */
static void set_rows(const ck_dense *d, ck_sheet *sheet, int64_t row, int64_t row_end, int64_t at[2]) {
  const ck_axis *y = &d->source.axis[1];
  const int64_t s_row = d->source.tensor.stride[3], to_row = d->dst.stride[3], apart = ck_taps_apart(y);
  const int64_t distance = distance_of(y), taps = ck_max(apart, -apart);
  sheet->rows = ck_ceil_div(row_end - row, distance);
  const int64_t start = apart < 0 ? row + (sheet->rows - 1) * distance : row, first = ck_axis_at(y, start, 0);
  at[0] = first * s_row;
  at[1] = start * to_row;
  sheet->s_row = apart * s_row;
  sheet->to_row = (apart < 0 ? -distance : distance) * to_row;
  sheet->alone =
      sheet->to_row == sheet->columns * size_of(d) ? ck_ceil_div(d->kernels->vector, sheet->columns) : sheet->rows + 1;
  /* Row first + q * apart is within 0..source-1. */
  sheet->first = ck_max(0, ck_ceil_div(apart < 0 ? first - y->source + 1 : -first, taps));
  sheet->end = ck_max(sheet->first, ck_ceil_div(apart < 0 ? first + 1 : y->source - first, taps));
}

/* Whether vectors that begin or end beyond the plane's rows may read what is not the tensor's. */
static int is_at_end(const ck_dense *d, const ck_sheet *s, const char *plane) {
  const int64_t item = size_of(d), low = ck_min(s->column[0], s->column[2]);
  const int64_t high = (ck_max(s->columns, d->kernels->vector) - 1) * s->step * item + item;
  const char *last = plane + (d->source.axis[1].source - 1) * d->source.tensor.stride[3];
  return plane + low < s->memory || last + high + ck_max(s->column[0], s->column[2]) > s->memory_end;
}

/* The weights of an output channel, nine neighbours: where they are, if they are, or copied. */
static const char *weights_of(const ck_dense *d, const buffers *b, const char *w) {
  const int64_t item = size_of(d), row = d->w_tap[1], column = d->w_tap[2];
  if (column == item && row == 3 * item)
    return w;
  for (int64_t t = 0; t < 9; t++)
    memcpy(b->weights + t * item, w + t / 3 * row + t % 3 * column, (size_t)item);
  return b->weights;
}

/* Bytes from plane c of image n of a task to the next one, in the source and in the output; none from the last. */
static void to_next(const ck_dense *d, const ck_share *share, int64_t n, int64_t c, int64_t next[2]) {
  const int64_t *from = d->source.tensor.stride, *to = d->dst.stride, end = share->box.first[0] + share->box.size[0];
  const int last = c + 1 == share->end, none = last && n + 1 == end;
  const int64_t images = none || !last ? 0 : 1, planes = none ? 0 : last ? share->first - c : 1;
  next[0] = images * from[0] + planes / d->lanes * from[1];
  next[1] = images * to[0] + planes * to[1];
}

void ck_sheets_task(ck_worker *worker, void *context, int64_t index) {
  const ck_dense_call *call = context;
  const ck_dense *d = call->d;
  const ck_axis *axis = d->source.axis;
  const int64_t *from = d->source.tensor.stride, *to = d->dst.stride, distance = distance_of(&axis[1]);
  const ck_share share = ck_dense_share(&call->plan, index);
  const ck_box *box = &share.box;
  const int64_t row = box->first[2], row_end = row + box->size[2], deep = ck_axis_at(&axis[0], box->first[1], 0);
  ck_arena arena = {.base = worker->scratch};
  const buffers b = place(d, &arena);
  ck_sheet sheet = sheet_of(d, &b);
  const int64_t vectors = vectors_of(d), vector = d->kernels->vector * size_of(d);
  int64_t at[2], next[2], planes = 0;
  set_rows(d, &sheet, row, row_end, at);
  for (int64_t n = box->first[0]; n < box->first[0] + box->size[0]; n++) {
    for (int64_t c = share.first; c < share.end && !ck_stopped_at(worker, planes, 16); c++, planes++) {
      const int64_t group = c / d->lanes;
      to_next(d, &share, n, c, next);
      const char *src = (const char *)d->source.tensor.data + n * from[0] + group * from[1] + deep * from[2];
      char *dst = (char *)d->dst.data + n * to[0] + c * to[1] + box->first[1] * to[2];
      sheet.weights = weights_of(d, &b, d->w + group * d->w_group + c % d->lanes * d->w_lane);
      sheet.bias = d->bias ? d->bias + c * d->bias_stride : NULL;
      for (int64_t z = 0; z < box->size[1]; z++, src += axis[0].step * from[2], dst += to[2]) {
        sheet.guarded = is_at_end(d, &sheet, src);
        sheet.ahead = src + next[0] + ck_max(0, ck_axis_at(&axis[1], row, 0)) * from[3];
        sheet.ahead_to = dst + next[1] + row * to[3];
        for (int64_t i = row; i < ck_min(row_end, row + distance); i++) {
          if (distance > 1)
            set_rows(d, &sheet, i, row_end, at);
          sheet.s = src + at[0];
          sheet.to = dst + at[1];
          d->kernels->sheet(&sheet);
          sheet.ahead += vectors * (sheet.end - sheet.first) * sheet.step * vector;
          sheet.ahead_to += vectors * sheet.rows * vector;
        }
        if (!ck_only_bounds(d->activation))
          ck_dense_activate_stored(d, dst + row * to[3], to[3], row_end - row, axis[2].outputs);
      }
    }
  }
}
