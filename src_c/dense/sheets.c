#include "sheets.h"

#include <string.h>

#include "base/parallel.h"
#include "dense_cost.h"
#include "dense_drain.h"

/* Bytes of masks at most; products of a task, at least, where there are others for the other threads; planes of a task
 * at most; bytes of the source that a block of rows reads: they stay in level 1, or near it. */
enum { MASK_BYTES = 64 * 1024, LEAST_PRODUCTS = 1 << 16, MOST_PLANES = 256, BLOCK_BYTES = 64 * 1024 };

static int64_t size_of(const ck_dense *d) { return d->kernels->real_size; }
static int64_t tap_of(const ck_dense *d, int axis, int64_t t) {
  return d->source.axis[axis].base + ck_tap_offset(&d->source.axis[axis], t);
}

/* Where vector `index` of a row begins. */
static int64_t column_of(const ck_dense *d, int64_t index) {
  const int64_t vector = d->kernels->vector, last = d->source.axis[2].outputs - vector;
  return last < 0 ? 0 : ck_min(index * vector, last);
}

static int64_t vectors_of(const ck_dense *d) { return ck_ceil_div(d->source.axis[2].outputs, d->kernels->vector); }

static int reads_beside(const ck_dense *d, int64_t column) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t one = tap_of(d, 2, 0), other = tap_of(d, 2, 2), end = column + d->kernels->vector - 1;
  return column * x->step + ck_min(one, other) < 0 || end * x->step + ck_max(one, other) >= x->source;
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

static int pads_zeros(const ck_axis *axis) { return axis->mode == CK_ZEROS || ck_axis_is_inside(axis); }

/* What it does at all, with half a vector of columns or more. */
static int can(const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  const int64_t item = size_of(d), *stride = d->source.tensor.stride;
  const int only = ck_arrangements_only();
  int fits = d->arrangements & 1 << CK_BY_CHANNEL && (!only || only & 1 << CK_BY_CHANNEL) && d->channels == 1 &&
             axis[0].taps == 1 && axis[1].taps == 3 && axis[2].taps == 3 && fits_step(axis) &&
             ck_axis_is_inside(&axis[0]) && !d->source.act_y.data && !d->sampler && !d->fold && !d->add && !d->tapped;
  for (int i = 0; i < 3; i++)
    fits &= d->phases[i] == 1 && axis[i].stride <= 1 && pads_zeros(&axis[i]);
  for (int i = 0; i < 4; i++)
    fits &= stride[i] >= 0;
  fits &= stride[4] == item && d->dst.stride[4] == item && stride[3] >= axis[2].source * item;
  return fits && d->n * d->groups * d->lanes * axis[0].outputs * axis[1].outputs > 0 &&
         2 * axis[2].outputs > d->kernels->vector && mask_bytes(d) <= MASK_BYTES;
}

typedef struct sheets {
  const ck_dense *d;
  int64_t planes, each, rows, blocks; /* planes of outputs, those of a task; blocks of rows of a plane */
  int64_t left, right, inner, inner_end;
  /* Tap rows are `apart`, and output rows that share what they read `distance`; where taps go up as rows go down, the
   * last of these comes first. Where tap 0 of output 0 is, of rows and of planes. */
  int64_t apart, distance, base, deep;
} sheets;

static sheets cut(const ck_dense *d, const ck_run *run) {
  const ck_axis *axis = d->source.axis;
  sheets p = {.d = d, .planes = d->n * d->groups * d->lanes * axis[0].outputs};
  sides_of(d, &p.left, &p.right);
  ck_axis_inner(&axis[2], &p.inner, &p.inner_end);
  p.apart = tap_of(d, 1, 1) - tap_of(d, 1, 0);
  p.distance = axis[1].step == 1 ? ck_max(p.apart, -p.apart) : 1;
  p.base = tap_of(d, 1, 0);
  p.deep = tap_of(d, 0, 0);
  const int64_t line = ck_max(1, axis[2].source * axis[1].step * size_of(d)), all = axis[1].outputs;
  int64_t rows = ck_max(8 * axis[1].tap_step, BLOCK_BYTES / line), each = MOST_PLANES;
  if (run->threads > 1) {
    const int64_t row = 9 * axis[2].outputs, tasks = 4 * run->threads, wanted = ck_ceil_div(p.planes, tasks);
    each = ck_min(each, ck_max(wanted, ck_ceil_div(LEAST_PRODUCTS, ck_max(1, row * all))));
    if (p.planes < tasks)
      rows = ck_min(rows, ck_max(ck_ceil_div(all * p.planes, tasks), ck_ceil_div(LEAST_PRODUCTS, ck_max(1, row))));
  }
  p.blocks = ck_max(1, ck_ceil_div(all, rows));
  p.rows = ck_ceil_div(all, p.blocks);
  p.blocks = ck_ceil_div(all, p.rows);
  p.each = ck_ceil_div(p.planes, ck_max(1, ck_ceil_div(p.planes, each))); /* all tasks alike */
  return p;
}

/* Estimated cycles of all. */
static double cycles_of(const sheets *p, const ck_run *run) {
  const ck_axis *y = &p->d->source.axis[1];
  const int64_t lines = ck_min(p->distance, p->rows), tasks = ck_ceil_div(p->planes, p->each) * p->blocks;
  const double read = (double)(p->rows * y->step + lines * (3 - y->step));
  const double plane = (double)lines * ck_cost.sheet + (double)vectors_of(p->d) * read * ck_cost.sheet_row[y->step - 1];
  return (double)ck_ceil_div(tasks, run->threads) * (ck_cost.task + (double)p->each * plane);
}

double ck_sheets_cycles(const ck_dense *d, const ck_run *run) {
  if (!can(d))
    return 0;
  const sheets p = cut(d, run);
  return cycles_of(&p, run);
}

int ck_sheets_take(const ck_dense *d, const ck_run *run) {
  const double cycles = ck_sheets_cycles(d, run);
  ck_dense other = *d;
  const int only = ck_arrangements_only() & d->arrangements;
  return cycles > 0 && (only == 1 << CK_BY_CHANNEL || cycles < ck_dense_make_plan(&other, run).cycles);
}

typedef struct buffers {
  char *mask, *weights;
} buffers;

static buffers place(const sheets *p, ck_arena *arena) {
  buffers b;
  b.mask = ck_take(arena, mask_bytes(p->d));
  b.weights = ck_take(arena, 9 * size_of(p->d));
  return b;
}

/* Writes the masks of vectors first..end-1, and says which taps need them. */
static int set_masks(const ck_dense *d, int64_t first, int64_t end, char *mask) {
  const ck_axis *x = &d->source.axis[2];
  const int64_t item = size_of(d);
  int taps = 0;
  for (int64_t i = first; i < end; i++) {
    for (int64_t t = 0; t < 3; t++) {
      for (int64_t j = 0; j < d->kernels->vector; j++, mask += item) {
        const int64_t at = (column_of(d, i) + j) * x->step + tap_of(d, 2, t);
        const int inside = at >= 0 && at < x->source;
        memset(mask, inside ? 0xff : 0, (size_t)item);
        taps |= !inside << t;
      }
    }
  }
  return taps;
}

/* What is the same for all planes. */
static ck_sheet sheet_of(const sheets *p, const buffers *b) {
  const ck_dense *d = p->d;
  const ck_axis *axis = d->source.axis;
  const int64_t item = size_of(d), vectors = vectors_of(d);
  ck_sheet sheet = {.width = axis[2].source * item,
                    .columns = axis[2].outputs,
                    .left = p->left,
                    .right = p->right,
                    .inner = p->inner,
                    .inner_end = p->inner_end,
                    .step = (int)axis[2].step,
                    .memory = d->source.tensor.data,
                    .memory_end = d->source.end,
                    .mask = b->mask,
                    .bounds = ck_bounds_of(d->activation, d->act_a, d->act_b)};
  for (int t = 0; t < 3; t++)
    sheet.column[t] = tap_of(d, 2, t) * item;
  sheet.left_taps = set_masks(d, 0, p->left, b->mask);
  sheet.right_taps = set_masks(d, vectors - p->right, vectors, b->mask + p->left * 3 * d->kernels->vector * item);
  return sheet;
}

/* Of output rows row..row_end-1 the first one and those that share what they read with it. Where they are in a plane of
 * the source, and in one of the output, bytes from its start on. */
static void set_rows(const sheets *p, ck_sheet *sheet, int64_t row, int64_t row_end, int64_t at[2]) {
  const ck_dense *d = p->d;
  const ck_axis *y = &d->source.axis[1];
  const int64_t s_row = d->source.tensor.stride[3], to_row = d->dst.stride[3], apart = p->apart;
  sheet->rows = ck_ceil_div(row_end - row, p->distance);
  const int64_t start = apart < 0 ? row + (sheet->rows - 1) * p->distance : row, first = start * y->step + p->base;
  at[0] = first * s_row;
  at[1] = start * to_row;
  sheet->s_row = apart * s_row;
  sheet->to_row = (apart < 0 ? -p->distance : p->distance) * to_row;
  sheet->alone =
      sheet->to_row == sheet->columns * size_of(d) ? ck_ceil_div(d->kernels->vector, sheet->columns) : sheet->rows + 1;
  /* Row first + q * apart is within 0..source-1. */
  const int64_t before = apart < 0 ? first - y->source + 1 : -first, until = apart < 0 ? first + 1 : y->source - first;
  sheet->first = ck_max(0, ck_ceil_div(before, ck_max(apart, -apart)));
  sheet->end = ck_max(sheet->first, ck_ceil_div(until, ck_max(apart, -apart)));
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

static void sheets_task(ck_worker *worker, void *context, int64_t index) {
  const sheets *p = context;
  const ck_dense *d = p->d;
  const ck_axis *axis = d->source.axis;
  const ck_tensor *src = &d->source.tensor, *dst = &d->dst;
  const int64_t deep = axis[0].outputs, first = index / p->blocks * p->each, end = ck_min(p->planes, first + p->each);
  const int64_t row = p->rows * (index % p->blocks), row_end = ck_min(axis[1].outputs, row + p->rows);
  int64_t z = first % deep, lane = first / deep % d->lanes, group = first / deep / d->lanes % d->groups;
  int64_t n = first / deep / d->lanes / d->groups;
  ck_arena arena = {.base = worker->scratch};
  const buffers b = place(p, &arena);
  ck_sheet sheet = sheet_of(p, &b);
  int64_t at[2];
  set_rows(p, &sheet, row, row_end, at);
  for (int64_t q = first; q < end && ((q - first) % 16 || !ck_stopped(worker)); q++) {
    const int64_t channel = group * d->lanes + lane;
    const char *plane = (const char *)src->data + n * src->stride[0] + group * src->stride[1] +
                        (z * axis[0].step + p->deep) * src->stride[2];
    char *to = (char *)dst->data + n * dst->stride[0] + channel * dst->stride[1] + z * dst->stride[2];
    sheet.weights = weights_of(d, &b, d->w + group * d->w_group + lane * d->w_lane);
    sheet.bias = d->bias ? d->bias + channel * d->bias_stride : NULL;
    sheet.guarded = is_at_end(d, &sheet, plane);
    for (int64_t i = row; i < ck_min(row_end, row + p->distance); i++) {
      if (p->distance > 1)
        set_rows(p, &sheet, i, row_end, at);
      sheet.s = plane + at[0];
      sheet.to = to + at[1];
      d->kernels->sheet(&sheet);
    }
    if (!ck_only_bounds(d->activation))
      ck_dense_activate_stored(d, to + row * dst->stride[3], dst->stride[3], row_end - row, axis[2].outputs);
    z = z + 1 < deep ? z + 1 : 0;
    lane = z > 0 ? lane : lane + 1 < d->lanes ? lane + 1 : 0;
    group = z > 0 || lane > 0 ? group : group + 1 < d->groups ? group + 1 : 0;
    n += z == 0 && lane == 0 && group == 0;
  }
}

ck_status ck_sheets(const ck_dense *d, const ck_run *run, int64_t *bytes) {
  sheets p = cut(d, run);
  ck_arena arena = {0};
  place(&p, &arena);
  if (bytes) {
    *bytes = ck_max(*bytes, run->threads * arena.used);
    return CK_OK;
  }
  return ck_parallel(ck_ceil_div(p.planes, p.each) * p.blocks, sheets_task, &p, run, run->workspace, arena.used);
}

void ck_sheets_explain(const ck_dense *d, const ck_run *run, ck_explanation *e) {
  const sheets p = cut(d, run);
  const int64_t block[4] = {1, 1, p.rows, d->source.axis[2].outputs};
  memcpy(e->block, block, sizeof block);
  e->channels = 1;
  e->lanes = 1;
  e->tasks = ck_ceil_div(p.planes, p.each) * p.blocks;
}
