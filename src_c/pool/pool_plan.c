/* How a pooling is cut: what folds see of the tensors, blocks of results, and the scratch they need.
 *
 * None of it can change a bit of a result: its taps are folded in one order whatever the block and the memory.  Only
 * the parts that very large windows come in decide bits; they follow from the shape. */
#include <math.h>

#include "pool_plan.h"

/* Bytes of elements, codes not counted. A block of two thirds of a level-1 cache's size costs least where windows
 * overlap little; where they overlap much, larger ones spare more than level 2 costs. */
enum {
  BLOCK_BYTES = 64 * 1024,
  MOST_BYTES = 256 * 1024,
  LINES_BYTES = 16 * 1024, /* brought together at once: read again from level 1 */
  MOST_LINES = 512,
  PART_POSITIONS = 4096, /* of a window that is folded at once */
  MOST_GATHERED = 256,   /* positions of a small plane */
};
static const double LEAST_TASK = 16384, GROWTH = 1.25;

int ck_pool_is_trivial(const ck_pool_axis *a) {
  return !a->irregular && a->taps == 1 && a->step == 1 && a->unit == 1 && a->run == 0;
}

/* ---------------------------------------------------------------- the tensors */

static ck_pool_side side_of(const ck_tensor *t, int channels_inside, int64_t item) {
  ck_pool_side side = {.data = t->data,
                       .image = channels_inside ? 0 : t->stride[0],
                       .plane = channels_inside ? t->stride[0] : t->stride[1],
                       .space = {t->stride[2], t->stride[3], t->stride[4]},
                       .inner = channels_inside ? t->stride[1] : item};
  return side;
}

/* Rows of results shorter than a vector, of enough planes to fill one, whose elements are adjacent. */
static int gathers(const ck_pool_plan *p, const ck_pool_shape *s, int64_t planes) {
  const ck_pool_axis *a = p->axis;
  return !a[2].backward && p->parts == 1 && p->src.space[2] == p->k->real_size && !a[2].run &&
         a[2].results < p->k->vector && planes >= p->k->vector && s->in[2] <= MOST_GATHERED &&
         s->in[0] * s->in[1] * s->in[2] <= MOST_GATHERED;
}

static void set_sides(ck_pool_plan *p, const ck_pool *call, int backward) {
  const ck_pool_shape *s = &call->shape;
  const ck_tensor *tensors[3] = {backward ? &call->y : &call->x, backward ? &call->x : &call->y, &call->indices};
  ck_pool_side *sides[3] = {&p->src, &p->dst, &p->indices};
  const int64_t item = p->k->real_size, *stride = tensors[0]->stride;
  int inside = s->channels > 1 && stride[1] == item && (stride[4] != item || p->axis[2].sources == 1), one_step = 1;
  for (int i = 0; i < 3; i++) {
    *sides[i] = side_of(tensors[i], inside, i < 2 ? item : (int64_t)sizeof(int64_t));
    if (s->channels == 1)
      sides[i]->plane = sides[i]->image;
    one_step &= !tensors[i]->data || s->n == 1 || s->channels == 1 || sides[i]->image == s->channels * sides[i]->plane;
  }
  p->inner = inside ? s->channels : 1;
  p->images = inside || one_step ? 1 : s->n;
  p->planes = inside ? s->n : one_step ? s->n * s->channels : s->channels;
  p->gathered = !inside && gathers(p, s, p->planes);
  for (int i = 0; i < 3 && p->gathered; i++) {
    sides[i]->inner = sides[i]->plane;
    sides[i]->plane = 0;
  }
  if (p->gathered) {
    p->inner = p->planes;
    p->planes = 1;
  }
  const int64_t from[3] = {p->axis[0].sources, p->axis[1].sources, p->axis[2].sources};
  p->src_end = ck_tensor_end(tensors[0], s->n, s->channels, from, item);
}

/* ---------------------------------------------------------------- parts of windows */

/* Whole inner axes first: parts follow one another in row-major order. An index must fit the integers of a real's
 * size, so that the elements from a part's first to its last one must. */
static void set_parts(ck_pool_plan *p) {
  ck_pool_axis *axis = p->axis;
  int64_t unit = 1, reach = 0;
  p->parts = 1;
  for (int d = 2; d >= 0; d--) {
    ck_pool_axis *a = &axis[d];
    int64_t parts = ck_ceil_div(ck_pool_hull(a, 1, a->taps), PART_POSITIONS);
    a->segment = ck_ceil_div(a->taps, parts);
    int fits = a->adaptive || a->backward || (a->segment - 1) <= (INT32_MAX - reach) / unit / a->dilation;
    if (p->parts > 1 || !fits)
      a->segment = 1;
    p->parts *= ck_ceil_div(a->taps, a->segment);
    reach += (a->segment - 1) * (a->adaptive ? 1 : a->dilation) * unit;
    unit = ck_max(1, ck_min(unit * ck_min(a->in, INT32_MAX), INT32_MAX));
  }
}

/* Per vector of results: taps are loaded either all at once, or those of a row for each row, stored, and loaded again.
 */
static void choose_folds(ck_pool_plan *p) {
  const ck_pool_axis *x = &p->axis[2], *y = &p->axis[1];
  p->split = p->inner == 1 && !x->irregular && x->step == 2 && !x->by_powers;
  int rows = !x->by_powers && !y->by_powers && !y->irregular && p->parts == 1 && y->taps > 1;
  if (p->inner == 1 && !p->split && (x->irregular || x->step > 1))
    rows = 0; /* lanes are windows */
  p->fused = rows && x->taps * y->taps + 1 < y->step * (x->taps + 1) + y->taps + 1;
}

/* ---------------------------------------------------------------- blocks */

static int64_t hull(const ck_pool_axis *a, int64_t n) { return ck_pool_hull(a, n, a->segment); }

/* Positions of a line of n results at most, and results with what may lie between one line's and the next's. */
static int64_t line_of(const ck_pool_axis *a, int64_t n) {
  return a->irregular ? hull(a, n) : ck_round_up(ck_max(n * a->step, hull(a, n)), a->step);
}
static int64_t results_of(const ck_pool_plan *p, int d, int64_t n) {
  const ck_pool_axis *a = &p->axis[d];
  return (d == 2 ? p->split : p->fused) ? line_of(a, n) / a->step : n + n / 8;
}

/* Sizes of a block of n[1..3] results of n[0] planes and `inner` elements. */
static void set_sizes(ck_pool_plan *p, const int64_t n[4], int64_t inner) {
  const ck_pool_axis *a = p->axis;
  p->line = line_of(&a[2], n[3]) * inner;
  int64_t lines = n[0] * line_of(&a[1], n[2]) + hull(&a[1], n[2]);
  p->lines = ck_min(ck_min(lines, MOST_LINES), LINES_BYTES / p->k->real_size / ck_max(1, p->line));
  p->lines = ck_max(p->lines, p->fused ? hull(&a[1], 1) : 1);
  p->row = results_of(p, 2, n[3]) * inner;
  p->plane = n[0] * results_of(p, 1, n[2]) * p->row;
  p->result = n[1] * p->plane;
}

/* Elements that the block holds between folds. */
static double held(const ck_pool_plan *p, const int64_t n[4]) {
  const ck_pool_axis *a = p->axis;
  double rows = (double)n[0] * (double)hull(&a[1], n[2]) * (double)ck_max(p->row, ck_min(p->line, 2 * p->row));
  return fmax(rows, (double)hull(&a[0], n[1]) * (double)p->plane);
}

/* How much more there is to fold if axis d is cut in two. */
static double growth(const ck_pool_axis *a, int64_t n) {
  return n > 1 ? 2.0 * (double)hull(a, ck_ceil_div(n, 2)) / (double)hull(a, n) : INFINITY;
}

/* Cuts the axis in two that costs least, if it costs less than `limit`. */
static int cut_axis(const ck_pool_plan *p, int64_t n[4], double limit) {
  int best = 0;
  for (int d = 0; d < 3; d++) {
    double cost = growth(&p->axis[d], n[d + 1]) * (d == 2 ? 1.1 : 1); /* rows are better left whole */
    if (cost < limit) {
      limit = cost;
      best = d + 1;
    }
  }
  if (best)
    n[best] = ck_ceil_div(n[best], 2);
  return best;
}

static void choose_block(ck_pool_plan *p, int64_t n[4], int64_t *inner) {
  const int64_t item = p->k->real_size, vl = p->k->vector;
  double most = (double)(MOST_BYTES / item), target = (double)(BLOCK_BYTES / item);
  n[0] = 1;
  for (int d = 0; d < 3; d++)
    n[d + 1] = ck_max(1, p->axis[d].results);
  if (p->gathered) { /* whole planes, as many as the block holds */
    set_sizes(p, n, 1);
    int64_t planes = ck_min(*inner, (int64_t)(target / fmax(held(p, n), 1)));
    *inner = ck_round_up(ck_max(1, planes), vl);
    set_sizes(p, n, *inner);
    return;
  }
  for (;;) { /* a line must fit */
    set_sizes(p, n, *inner);
    if ((double)p->line <= target || (n[3] == 1 && *inner <= vl))
      break;
    if (*inner > vl && (*inner > 8 * vl || growth(&p->axis[2], n[3]) > GROWTH))
      *inner = ck_round_up(ck_ceil_div(*inner, 2), vl);
    else
      n[3] = ck_ceil_div(n[3], 2);
  }
  while (held(p, n) > target && cut_axis(p, n, GROWTH))
    set_sizes(p, n, *inner);
  while (held(p, n) > most) {
    if (*inner > vl)
      *inner = ck_round_up(ck_ceil_div(*inner, 2), vl);
    else if (!cut_axis(p, n, INFINITY))
      break;
    set_sizes(p, n, *inner);
  }
}

/* Small planes together; then enough blocks for all threads, none too small. */
static void cut(ck_pool_plan *p, int threads) {
  int64_t n[4], inner = p->inner;
  choose_block(p, n, &inner);
  double plane = fmax(held(p, n), (double)p->line), target = (double)BLOCK_BYTES / (double)p->k->real_size;
  int whole = p->parts == 1;
  for (int d = 0; d < 3; d++)
    whole &= n[d + 1] >= p->axis[d].results;
  if (whole && plane * 2 <= target)
    n[0] = ck_max(1, ck_min(p->planes, (int64_t)(target / plane)));
  for (;;) {
    int64_t units[4] = {p->images, p->planes, p->inner, 1}, unit[4] = {1, n[0], inner, 1};
    p->units = ck_grid_make(units, unit);
    int64_t size[4] = {ck_grid_count(&p->units), p->axis[0].results, p->axis[1].results, p->axis[2].results};
    int64_t block[4] = {1, n[1], n[2], n[3]};
    p->grid = ck_grid_make(size, block);
    set_sizes(p, n, inner);
    if (threads == 1 || ck_grid_count(&p->grid) >= 4 * threads || plane * (double)n[0] < LEAST_TASK)
      break;
    if (n[0] > 1)
      n[0] = ck_ceil_div(n[0], 2);
    else if (!cut_axis(p, n, GROWTH))
      break;
    set_sizes(p, n, inner);
    plane = fmax(held(p, n) / (double)n[0], (double)p->line);
  }
}

/* ---------------------------------------------------------------- scratch */

static char *take_elements(const ck_pool_plan *p, ck_arena *arena, int64_t count) {
  return ck_take(arena, count ? (count + 4 * p->k->vector) * p->k->real_size : 0); /* whole vectors run over */
}

static void place_elements(const ck_pool_plan *p, ck_arena *arena, ck_pool_buffers *b) {
  const ck_pool_axis *a = p->axis;
  const int64_t y = ck_grid_largest(&p->grid, 2), planes = ck_grid_largest(&p->units, 1);
  int64_t raw = ck_round_up((p->lines + 1) * p->line + 4 * p->k->vector, 2 * p->k->vector),
          rows = (planes * line_of(&a[1], y) + hull(&a[1], y)) * p->row;
  int64_t all = hull(&a[0], ck_grid_largest(&p->grid, 1)) * p->plane, work = a[2].by_powers ? raw : 0;
  work = ck_max(work, a[1].by_powers ? rows : 0);
  work = ck_max(work, a[0].by_powers ? all : 0);
  b->odd = raw / 2 + 2 * p->k->vector;
  b->raw = take_elements(p, arena, raw);
  b->divided = take_elements(p, arena, a[2].backward ? raw : 0);
  b->work[0] = take_elements(p, arena, work);
  b->work[1] = take_elements(p, arena, work);
  b->phases = take_elements(p, arena, ck_pool_in_phases(p) ? 2 * p->lines * ck_grid_largest(&p->grid, 3) : 0);
  int only = p->fused || ck_pool_is_trivial(&a[1]);
  b->planes = take_elements(p, arena, only ? ck_max(all, rows) : all);
  b->rows = take_elements(p, arena, only ? 0 : rows);
  b->result = take_elements(p, arena, ck_pool_is_trivial(&a[0]) ? 0 : p->result);
}

void ck_pool_place(const ck_pool_plan *p, ck_arena *arena, ck_pool_buffers *b) {
  const int64_t word = sizeof(int64_t), start = arena->used;
  const int64_t width = ck_max(p->line, p->row), height = ck_max(p->lines, ck_grid_largest(&p->grid, 2));
  place_elements(p, arena, b);
  b->codes = arena->used - start;
  if (p->indexed)
    ck_take(arena, b->codes);
  b->sum = take_elements(p, arena, p->parts > 1 ? p->result : 0);
  b->divisor = take_elements(p, arena, p->max ? 0 : width);
  b->divisors = ck_take(arena, p->max ? 0 : width * word);
  b->row_divisors = ck_take(arena, p->max ? 0 : height * word);
  b->scale = ck_take(arena, p->max ? 0 : height * word);
  b->sum_index = ck_take(arena, p->indexed && p->parts > 1 ? p->result * word : 0);
  b->row_index = ck_take(arena, p->indexed && p->parts > 1 ? p->row * word : 0);
  b->offset = ck_take(arena, p->split ? p->axis[2].segment * word : 0);
  b->line = ck_take(arena, p->lines * (int64_t)sizeof(*b->line));
  b->row_dst = ck_take(arena, p->gathered ? p->lines * (int64_t)sizeof(*b->row_dst) : 0);
  b->row_src = ck_take(arena, p->gathered ? p->lines * word : 0);
  for (int d = 0; d < 3; d++) {
    int64_t n = p->axis[d].irregular ? ck_grid_largest(&p->grid, d + 1) : 0;
    b->first[d] = ck_take(arena, n * (int64_t)sizeof(int32_t));
    b->count[d] = ck_take(arena, n * (int64_t)sizeof(int32_t));
  }
}

ck_pool_plan ck_pool_plan_make(const ck_pool *call, ck_pool_op op) {
  int backward = op == CK_POOL_AVERAGE_GRAD;
  ck_pool_plan p = {.k = call->kernels, .max = op == CK_POOL_MAX};
  p.indexed = p.max && call->indices.data;
  for (int d = 0; d < 3; d++)
    p.axis[d] = ck_pool_axis_make(&call->shape, d, backward);
  set_parts(&p);
  set_sides(&p, call, backward);
  choose_folds(&p);
  cut(&p, call->run.threads);
  ck_pool_buffers b;
  ck_arena count = {0};
  ck_pool_place(&p, &count, &b);
  p.bytes = count.used;
  return p;
}
