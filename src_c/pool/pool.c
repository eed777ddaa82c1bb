/* Pooling: a block of results at a time.  The lines that it needs of one plane of its source are brought together in
 * scratch, padded with what is neutral, and folded along x; the rows that come of it along y; the planes that come of
 * that along z.  So the taps of a window come in row-major order where order matters: of equal maxima the first stays,
 * of NaNs the last, and a sum is the same in every layout.
 *
 * The average's gradient is the same with the roles exchanged: a sum over the outputs that cover an element, each first
 * divided.  It gathers, so no two tasks write to one place. */
#include <math.h>
#include <string.h>

#include "pool_fold.h"
#include "pool_points.h"
#include "pool_whole.h"

enum { POLL_ELEMENTS = 1 << 20 };

static char *at(const ck_pool_block *t, const ck_pool_side *side, int64_t plane, int64_t z, int64_t y, int64_t x) {
  return side->data + t->image * side->image + (t->first_plane + plane) * side->plane + t->element * side->inner +
         z * side->space[0] + y * side->space[1] + x * side->space[2];
}

/* ---------------------------------------------------------------- divisors */

/* Divisors of outputs first.. of one axis, 1 outside of it; 0 if they are not all the same, else that. */
static double set_divisors(const ck_pool_axis *a, int64_t first, int64_t n, double *to) {
  int64_t last = first + n - 1;
  double most = a->adaptive ? 0 : (double)a->kernel;
  if (first >= 0 && last < a->out && (double)ck_pool_divisor(a, first) == most &&
      (double)ck_pool_divisor(a, last) == most) { /* so it is between them, too */
    for (int64_t i = 0; i < n; i++)
      to[i] = most;
    return most;
  }
  for (int64_t i = 0; i < n; i++)
    to[i] = first + i >= 0 && first + i < a->out ? (double)ck_pool_divisor(a, first + i) : 1;
  return 0;
}

/* Of the outputs of a row: `even`, or one for each element. */
static double set_row_divisor(const ck_pool_block *t, int64_t first, int64_t n) {
  const int64_t inner = t->inner;
  double *to = t->b.divisors, even = set_divisors(&t->p->axis[2], first, n, to);
  if (even)
    return even;
  for (int64_t i = n - 1; i >= 0 && inner > 1; i--)
    for (int64_t c = inner - 1; c >= 0; c--)
      to[i * inner + c] = to[i];
  t->p->k->narrow(t->b.divisor, to, n * inner);
  return 0;
}

/* ---------------------------------------------------------------- the lines of a plane */

static void fill_neutral(const ck_pool_block *t, char *dst, int64_t count) {
  const char *none = NULL;
  ck_pool_stage stage = {.dst = dst, .row = &none, .lines = 1, .line = count, .neutral = t->p->max ? -INFINITY : 0};
  t->p->k->pool_stage(&stage);
}

/* Where the elements of lines first..first+count-1 of a source plane begin, or NULL where all are outside the image. */
static void set_lines(const ck_pool_block *t, int64_t z, int64_t first, int64_t count) {
  const ck_pool_span *y = &t->span[1], *x = &t->span[2];
  const ck_pool_plan *p = t->p;
  int64_t plane = first / y->length, position = first % y->length;
  const char *image = at(t, &p->src, plane, z, 0, ck_pool_source(x, &p->axis[2], x->lead));
  for (int64_t i = 0; i < count; i++) {
    int inside = plane < t->planes && position >= y->lead && position < y->end && x->end > x->lead;
    t->b.line[i] = inside ? image + ck_pool_source(y, &p->axis[1], position) * p->src.space[1] : NULL;
    if (++position == y->length) {
      position = 0;
      plane++;
      image += p->src.plane;
    }
  }
}

/* Lines first..first+count-1 where they are, if whole lines lie there as the fold wants them; else NULL. */
static const char *lines_in_place(const ck_pool_block *t, int64_t z, int64_t first, int64_t count, int64_t *step) {
  const ck_pool_plan *p = t->p;
  const ck_pool_span *y = &t->span[1], *x = &t->span[2];
  const int64_t item = p->k->real_size, line = x->length * t->inner * item;
  const ck_pool_axis *ax = &p->axis[2], *ay = &p->axis[1];
  int one_plane = first % y->length + count <= y->length, row = first % y->length;
  if (ax->backward || p->split || ax->unit > 1 || ax->run || ay->run || x->lead > 0 || x->end < x->hull ||
      p->gathered || p->src.space[2] != t->inner * item || p->src.inner != item)
    return NULL;
  if (one_plane ? row < y->lead || row + count > y->end
                : y->lead > 0 || y->end < y->length || first + count > t->planes * y->length)
    return NULL;
  *step = p->src.space[1] * ay->unit;
  if (!one_plane && p->src.plane != *step * y->length)
    return NULL;
  if (count > 1 && (*step < 0 || (*step != line && ck_pool_needs_lines(t))))
    return NULL;
  set_lines(t, z, first, 1);
  const char *src = t->b.line[0];
  int64_t held = (count - 1) * *step + ck_max(line, x->hull * t->inner * item) + 2 * p->k->vector * item;
  return src + held <= p->src_end ? src : NULL;
}

/* Each output's gradient, divided by what its sum was. */
static const char *divide_lines(const ck_pool_block *t, int64_t z, int64_t first, int64_t count) {
  const ck_pool_plan *p = t->p;
  const ck_pool_span *y = &t->span[1], *x = &t->span[2];
  const int64_t item = p->k->real_size, line = x->length * t->inner * item;
  double depth = (double)ck_pool_divisor(&p->axis[0], z);
  for (int64_t i = 0; i < count; i++) {
    int64_t row = y->base + (first + i) % y->length;
    t->b.scale[i] = depth * (row >= 0 && row < p->axis[1].out ? (double)ck_pool_divisor(&p->axis[1], row) : 1);
  }
  ck_pool_finish all = {.planes = 1,
                        .rows = count,
                        .positions = x->length,
                        .inner = t->inner,
                        .src = t->b.raw,
                        .src_row = line,
                        .dst = t->b.divided,
                        .dst_end = t->b.divided + (count + 1) * line,
                        .dst_row = line,
                        .dst_position = t->inner * item,
                        .dst_inner = item,
                        .scale = t->b.scale};
  all.even = set_row_divisor(t, x->base, x->length);
  all.divisor = all.even ? NULL : t->b.divisor;
  p->k->pool_finish(&all);
  fill_neutral(t, t->b.divided + count * line, x->lead * t->inner);
  return t->b.divided;
}

/* Lines first..first+count-1 in scratch, with what is neutral around them. */
static const char *stage_lines(ck_pool_block *t, int64_t z, int64_t first, int64_t count) {
  const ck_pool_plan *p = t->p;
  const ck_pool_axis *a = &p->axis[2];
  const ck_pool_span *x = &t->span[2];
  set_lines(t, z, first, count);
  ck_pool_stage stage = {.dst = t->b.raw,
                         .row = t->b.line,
                         .end = p->src_end,
                         .lines = count,
                         .line = x->length * t->inner,
                         .lead = x->lead * t->inner,
                         .positions = x->end - x->lead,
                         .inner = t->inner,
                         .step = p->src.space[2] * a->unit,
                         .odd = p->split ? t->b.odd : 0,
                         .neutral = p->max ? -INFINITY : 0};
  if (a->run) {
    stage.run = a->run;
    stage.phase = x->lead % a->run;
    stage.jump = p->src.space[2] * (a->run_step - a->run * a->unit);
  }
  t->nan |= p->k->pool_stage(&stage) && p->max;
  return a->backward ? divide_lines(t, z, first, count) : t->b.raw;
}

/* The same of planes side by side: a vector of them at a time, transposed. */
static const char *gather_lines(ck_pool_block *t, int64_t z, int64_t first, int64_t count) {
  const ck_pool_plan *p = t->p;
  const ck_pool_span *x = &t->span[2];
  const int64_t item = p->k->real_size, held = x->end - x->lead, step = p->src.space[2] * p->axis[2].unit;
  const char *start = NULL;
  int64_t rows = 0;
  int one = held == x->length; /* rows that follow one another here and there */
  set_lines(t, z, first, count);
  for (int64_t i = 0; i < count; i++) {
    if (!t->b.line[i])
      continue;
    start = start ? start : t->b.line[i];
    t->b.row_dst[rows] = (int32_t)(i * x->length + x->lead);
    t->b.row_src[rows] = t->b.line[i] - start;
    one &= i == rows && t->b.row_src[i] == i * held * step;
    rows++;
  }
  if (rows < count || held < x->length)
    fill_neutral(t, t->b.raw, (count * x->length + x->lead) * t->inner);
  ck_span span = {.length = (int32_t)(one ? rows * held : held), .src_step = step};
  for (int64_t q = 0; q < t->lanes && rows; q += p->k->vector) {
    ck_stage stage = {.dst = t->b.raw + q * item,
                      .src = (char *)start + q * p->src.inner,
                      .src_end = p->src_end,
                      .images = 1,
                      .channels = 1,
                      .lanes = ck_min(p->k->vector, t->lanes - q),
                      .src_lane = p->src.inner,
                      .dst_position = t->inner,
                      .rows = one ? 1 : rows,
                      .row_dst = t->b.row_dst,
                      .row_src = t->b.row_src,
                      .spans = 1,
                      .span = &span};
    p->k->stage(&stage);
  }
  for (int64_t i = 0; i < rows && p->max && !t->nan; i++)
    t->nan = p->k->pool_scan(t->b.raw + t->b.row_dst[i] * t->inner * item, 1, 0, held * t->inner);
  return t->b.raw;
}

static int stopped(ck_pool_block *t, int64_t elements) {
  t->until_poll -= elements;
  if (t->until_poll <= 0) {
    t->until_poll = POLL_ELEMENTS;
    t->stopped = ck_stopped(t->worker);
  }
  return t->stopped;
}

/* Lines first..first+count-1 of a source plane, in scratch or in place, and the bytes from one to the next. */
static const char *take_lines(ck_pool_block *t, int64_t z, int64_t first, int64_t count, int64_t *step) {
  const ck_pool_plan *p = t->p;
  const int64_t line = t->span[2].length * t->inner;
  const char *src = lines_in_place(t, z, first, count, step);
  if (src) {
    t->nan = t->nan || (p->max && p->k->pool_scan(src, count, *step, line));
    return src;
  }
  *step = (p->split ? line / 2 : line) * p->k->real_size;
  return p->gathered ? gather_lines(t, z, first, count) : stage_lines(t, z, first, count);
}

/* All lines of a plane, folded along x into rows, or, fused, along y too. */
static void fold_lines(ck_pool_block *t, int64_t z, char *rows) {
  const ck_pool_plan *p = t->p;
  const ck_pool_span *y = &t->span[1];
  const int64_t each = p->fused ? p->axis[1].step : 1, more = p->fused ? y->hull - (y->n - 1) * each - 1 : 0;
  const int64_t at_once = (p->lines - more - 1) / each + 1;
  int64_t all = t->planes * y->length, count, step;
  if (p->fused)
    all = (t->planes - 1) * (y->length / each) + y->n;
  else if (!ck_pool_is_trivial(&p->axis[1]))
    all += y->lead; /* which the last plane's windows may reach */
  for (int64_t first = 0; first < all && !stopped(t, p->line * p->lines); first += count) {
    count = ck_min(at_once, all - first);
    const char *src = take_lines(t, z, first * each, (count - 1) * each + 1 + more, &step);
    ck_pool_fold_axis(t, 2, src, step, count, t->inner, rows + first * t->row * p->k->real_size);
  }
}

/* ---------------------------------------------------------------- a part of the windows */

/* Results of one part, [depth][plane][height][width]. */
static const char *fold_part(ck_pool_block *t) {
  const ck_pool_plan *p = t->p;
  const ck_pool_span *z = &t->span[0];
  const int64_t item = p->k->real_size, whole = t->planes * t->plane;
  int flat = p->fused || ck_pool_is_trivial(&p->axis[1]);
  for (int64_t i = 0; i < z->hull && !t->stopped; i++) {
    char *plane = t->b.planes + i * whole * item, *rows = flat ? plane : t->b.rows;
    if (i < z->lead || i >= z->end) {
      fill_neutral(t, plane, whole);
      continue;
    }
    fold_lines(t, ck_pool_source(z, &p->axis[0], i), rows);
    if (!flat)
      ck_pool_fold_axis(t, 1, rows, t->span[1].length * t->row * item, t->planes, t->row, plane);
  }
  if (ck_pool_is_trivial(&p->axis[0]))
    return t->b.planes;
  ck_pool_fold_axis(t, 0, t->b.planes, 0, 1, whole, t->b.result);
  return t->b.result;
}

/* ---------------------------------------------------------------- the end of a block */

/* The coordinate at which the window of the block's result i starts. */
static int64_t origin(const ck_pool_block *t, int d, int64_t i) {
  const ck_pool_axis *a = &t->p->axis[d];
  const ck_pool_span *s = &t->span[d];
  return ck_pool_source(s, a, a->irregular ? s->first[i] : i * a->step);
}

/* Indices of maxima that are -inf: the first element of the window, whatever was found, or none. */
static void settle_indices(const ck_pool_block *t, char *row, int64_t z, int64_t y) {
  const ck_pool_plan *p = t->p;
  const ck_pool_axis *a = p->axis;
  const int64_t *first = t->box.first;
  ck_range in_z = ck_pool_window(&a[0], first[1] + z), in_y = ck_pool_window(&a[1], first[2] + y);
  for (int64_t x = 0; x < t->span[2].n; x++) {
    ck_range in_x = ck_pool_window(&a[2], first[3] + x);
    int64_t index = (in_z.first * a[1].in + in_y.first) * a[2].in + in_x.first, found;
    if (in_z.count <= 0 || in_y.count <= 0 || in_x.count <= 0)
      index = -1;
    for (int64_t c = 0; c < t->lanes; c++) {
      char *to = row + x * p->indices.space[2] + c * p->indices.inner;
      memcpy(&found, to, sizeof(found));
      if (found == CK_POOL_UNKNOWN)
        memcpy(to, &index, sizeof(index));
    }
  }
}

static ck_pool_indices indices_of(const ck_pool_block *t, const char *value, int64_t z, int64_t y) {
  const ck_pool_axis *a = t->p->axis;
  return (ck_pool_indices){.positions = t->span[2].n,
                           .inner = t->inner,
                           .lanes = t->lanes,
                           .codes = t->b.codes,
                           .origin = (origin(t, 0, z) * a[1].in + origin(t, 1, y)) * a[2].in + t->span[2].base,
                           .step = a[2].stride,
                           .first = a[2].irregular ? t->span[2].first : NULL,
                           .value = value};
}

static void store_indices(const ck_pool_block *t, const char *result, int64_t z, int64_t plane) {
  const ck_pool_plan *p = t->p;
  for (int64_t y = 0; y < t->span[1].n; y++) {
    ck_pool_indices call =
        indices_of(t, result + ((z * t->planes + plane) * t->plane + y * t->row) * p->k->real_size, z, y);
    call.dst = at(t, &p->indices, plane, t->box.first[1] + z, t->box.first[2] + y, t->box.first[3]);
    call.dst_position = p->indices.space[2];
    call.dst_inner = p->indices.inner;
    if (p->k->pool_indices(&call))
      settle_indices(t, call.dst, z, y);
  }
}

/* Elements of a row of the block, one after the other. */
static int64_t width(const ck_pool_block *t) { return t->span[2].n * t->inner; }

/* Where whole vectors may be stored up to: rows that follow one another in memory end where the next begins. NULL,
 * below all rows, if they don't, since a later one may lie anywhere. */
static const char *end_of(const ck_pool_block *t, const char *dst) {
  const ck_pool_side *side = &t->p->dst;
  const int64_t item = t->p->k->real_size, row = width(t) * item, rows = t->span[1].n;
  if (side->space[1] != row && rows > 1)
    return NULL;
  if (t->planes > 1 && side->plane != rows * row)
    return NULL;
  return dst + t->planes * rows * row;
}

/* Planes side by side, each to its own place. */
static void scatter_planes(const ck_pool_block *t, ck_pool_finish call) {
  const ck_pool_plan *p = t->p;
  const int64_t item = p->k->real_size;
  char *dst = call.dst, *src = (char *)call.src;
  if (call.scale) { /* where they are: rows are of whole vectors */
    call.dst = src;
    call.dst_end = src;
    call.dst_row = call.src_row;
    call.dst_position = t->inner * item;
    call.dst_inner = item;
    p->k->pool_finish(&call);
  }
  int one = call.src_row == call.positions * t->inner * item && p->dst.space[1] == call.positions * p->dst.space[2];
  for (int64_t y = 0; y < (one ? 1 : call.rows); y++) {
    ck_drain drain = {.c = src + y * call.src_row,
                      .c_pixel = t->inner,
                      .c_lane = 1,
                      .dst = dst + y * p->dst.space[1],
                      .count = call.positions * (one ? call.rows : 1),
                      .lanes = t->lanes,
                      .dst_pixel = p->dst.space[2],
                      .dst_lane = p->dst.inner,
                      .copy = 1};
    p->k->drain(&drain);
  }
}

static void store_results(ck_pool_block *t, const char *result, int64_t row, int64_t plane) {
  const ck_pool_plan *p = t->p;
  const int64_t item = p->k->real_size;
  const ck_pool_span *y = &t->span[1];
  int divide = !p->max && !p->axis[2].backward;
  ck_pool_finish call = {.planes = t->planes,
                         .rows = y->n,
                         .positions = t->span[2].n,
                         .inner = t->inner,
                         .src_plane = plane * item,
                         .src_row = row * item,
                         .dst_plane = p->dst.plane,
                         .dst_row = p->dst.space[1],
                         .dst_position = p->dst.space[2],
                         .dst_inner = p->dst.inner};
  if (divide) {
    call.even = set_row_divisor(t, t->box.first[3], t->span[2].n);
    call.divisor = call.even ? NULL : t->b.divisor;
    call.scale = t->b.scale;
    set_divisors(&p->axis[1], t->box.first[2], y->n, t->b.row_divisors);
  }
  for (int64_t z = 0; z < t->span[0].n; z++) {
    double depth = divide ? (double)ck_pool_divisor(&p->axis[0], t->box.first[1] + z) : 1;
    for (int64_t i = 0; divide && i < y->n; i++)
      t->b.scale[i] = depth * t->b.row_divisors[i];
    call.src = result + z * t->planes * plane * item;
    call.dst = at(t, &p->dst, 0, t->box.first[1] + z, t->box.first[2], t->box.first[3]);
    call.dst_end = end_of(t, call.dst);
    if (p->gathered)
      scatter_planes(t, call);
    else
      p->k->pool_finish(&call);
  }
}

/* ---------------------------------------------------------------- windows in parts */

/* Of one plane, the only one. */
static void add_part(ck_pool_block *t, const char *result) {
  const ck_pool_plan *p = t->p;
  const int64_t item = p->k->real_size, n = width(t);
  for (int64_t i = 0; i < t->span[0].n * t->span[1].n; i++) {
    int64_t z = i / t->span[1].n, y = i % t->span[1].n;
    const char *row = result + (z * t->plane + y * t->row) * item;
    char *sum = t->b.sum + i * n * item;
    if (p->indexed) {
      ck_pool_indices call = indices_of(t, row, z, y);
      call.dst = (char *)t->b.row_index;
      call.dst_position = t->inner * (int64_t)sizeof(int64_t);
      call.dst_inner = sizeof(int64_t);
      p->k->pool_indices(&call);
      p->k->pool_merge(sum, t->b.sum_index + i * n, row, t->b.row_index, n);
      continue;
    }
    ck_pool_fold call = {.op = p->max ? CK_POOL_LARGER_OR_NAN : CK_POOL_SUM,
                         .lines = 1,
                         .groups = 1,
                         .length = n,
                         .src = sum,
                         .taps = 2,
                         .tap_step = row - sum,
                         .dst = sum};
    p->k->pool_fold(&call);
  }
}

/* The parts of an axis that have anything to do with the image, for some result of the block: the others are padding.
 */
static void parts_of(const ck_pool_block *t, int d, int64_t *first, int64_t *end) {
  const ck_pool_axis *a = &t->p->axis[d];
  int64_t from = 0, to = a->taps;
  if (!a->adaptive && !a->backward) {
    int64_t start = t->box.first[d + 1] * a->stride - a->lo, last = start + (t->box.size[d + 1] - 1) * a->stride;
    from = ck_max(0, last < 0 ? -last / a->dilation : 0);
    to = ck_min(a->taps, start < a->in ? (a->in - 1 - start) / a->dilation + 1 : 0);
  }
  *first = from / a->segment;
  *end = ck_ceil_div(to, a->segment);
}

/* Row `row` of the block's indices to where they belong. */
static void copy_indices(const ck_pool_block *t, int64_t row) {
  const ck_pool_side *side = &t->p->indices;
  int64_t z = row / t->span[1].n, y = row % t->span[1].n, all = width(t);
  char *dst = at(t, side, 0, t->box.first[1] + z, t->box.first[2] + y, t->box.first[3]);
  for (int64_t i = 0; i < all; i++)
    memcpy(dst + i / t->inner * side->space[2] + i % t->inner * side->inner, t->b.sum_index + row * all + i,
           sizeof(int64_t));
  settle_indices(t, dst, z, y);
}

static void run_parts(ck_pool_block *t) {
  const ck_pool_plan *p = t->p;
  int64_t first[3], end[3], part[3], tap[3] = {0}, all = t->box.size[1] * t->box.size[2] * t->box.size[3] * t->inner;
  for (int d = 0; d < 3; d++)
    parts_of(t, d, &first[d], &end[d]);
  fill_neutral(t, t->b.sum, all);
  for (int64_t i = 0; p->indexed && i < all; i++)
    t->b.sum_index[i] = CK_POOL_UNKNOWN;
  ck_pool_block_set(t, tap);
  for (part[0] = first[0]; part[0] < end[0]; part[0]++) {
    for (part[1] = first[1]; part[1] < end[1]; part[1]++) {
      for (part[2] = first[2]; part[2] < end[2] && !t->stopped; part[2]++) {
        for (int d = 0; d < 3; d++)
          tap[d] = part[d] * p->axis[d].segment;
        ck_pool_block_set(t, tap);
        add_part(t, fold_part(t));
      }
    }
  }
  if (t->stopped)
    return;
  store_results(t, t->b.sum, width(t), t->span[1].n * width(t));
  for (int64_t i = 0; p->indexed && i < t->span[0].n * t->span[1].n; i++)
    copy_indices(t, i);
}

/* ---------------------------------------------------------------- entry */

static void run_task(ck_worker *worker, void *context, int64_t index) {
  const ck_pool_plan *p = context;
  ck_pool_block block = {.p = p, .worker = worker, .until_poll = POLL_ELEMENTS}, *t = &block;
  ck_arena arena = {worker->scratch, 0};
  const int64_t none[3] = {0};
  ck_pool_place(p, &arena, &t->b);
  t->box = ck_grid_box(&p->grid, index);
  ck_box unit = ck_grid_box(&p->units, t->box.first[0]);
  t->image = unit.first[0];
  t->first_plane = unit.first[1];
  t->planes = unit.size[1];
  t->element = unit.first[2];
  t->lanes = unit.size[2];
  t->inner = p->gathered ? ck_round_up(t->lanes, p->k->vector) : t->lanes;
  for (int64_t d = 2, elements = 1; d >= 0; d--) {
    t->code[d] = p->axis[d].adaptive ? elements : p->axis[d].dilation * elements;
    elements *= p->axis[d].in;
  }
  if (p->parts > 1) {
    run_parts(t);
    return;
  }
  ck_pool_block_set(t, none);
  const char *result = fold_part(t);
  if (t->stopped)
    return;
  for (int64_t i = 0; p->indexed && i < t->span[0].n * t->planes; i++)
    store_indices(t, result, i / t->planes, i % t->planes);
  store_results(t, result, t->row, t->plane);
}

enum { THREAD_ELEMENTS = 1 << 15 }; /* waking a thread takes about as long */

/* The call with the threads that it is worth. */
static ck_pool sized(const ck_pool *call) {
  const ck_pool_shape *s = &call->shape;
  const int64_t all[] = {s->n, s->channels, ck_max(s->in[0], s->out[0]), ck_max(s->in[1], s->out[1]),
                         ck_max(s->in[2], s->out[2])};
  ck_pool here = *call;
  here.run.threads = ck_worth_threads(call->run.threads, all, sizeof all / sizeof *all, THREAD_ELEMENTS);
  return here;
}

ck_status ck_pool_workspace(const ck_pool *call, ck_pool_op op, int64_t *bytes) {
  *bytes = 0;
  if (op <= CK_POOL_AVERAGE_GRAD) {
    ck_pool here = sized(call);
    int whole = op == CK_POOL_AVERAGE && ck_pool_is_whole(&call->shape);
    *bytes = here.run.threads * (whole ? ck_pool_whole_bytes(&here) : ck_pool_plan_make(&here, op).bytes);
  }
  return CK_OK;
}

ck_status ck_pool_run(const ck_pool *call, ck_pool_op op) {
  ck_pool here = sized(call);
  if (op > CK_POOL_AVERAGE_GRAD)
    return ck_pool_points_run(&here, op);
  if (op == CK_POOL_AVERAGE && ck_pool_is_whole(&call->shape))
    return ck_pool_whole_run(&here);
  ck_pool_plan p = ck_pool_plan_make(&here, op);
  return ck_parallel(ck_grid_count(&p.grid), run_task, &p, &here.run, here.run.workspace, p.bytes);
}
