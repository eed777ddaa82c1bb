/* How a pooling is cut: what the lanes are, blocks of results, and the scratch they need.
 *
 * None of it can change a bit of a result: its taps are summed in one order whatever the block and the lanes. */
#include "pool.h"

enum {
  BLOCK_ELEMENTS = 16384, /* of results in scratch, in one block */
  STAGE_POSITIONS = 256,  /* of a vector of channels each */
  DIRECT_POSITIONS = 1 << 24,
  DIRECT_VECTORS = 4,
  MOST_TAPS = 1024,
  MOST_STRIDE = 64,
  MOST_REACH = 8192, /* of a row whose lanes are neighbours */
  ROW_POSITIONS = 4096,
  MOST_TASK_ELEMENTS = 524288,
  LEAST_TASK_ELEMENTS = 16384,
};

ck_progression ck_pool_taps_of(const ck_pool_plan *p, int d, int64_t result) {
  return p->backward ? ck_pool_covers(&p->axis[d], result) : ck_pool_window(&p->axis[d], result);
}

ck_progression ck_pool_users_of(const ck_pool_plan *p, int d, int64_t source) {
  return p->backward ? ck_pool_window(&p->axis[d], source) : ck_pool_covers(&p->axis[d], source);
}

/* Source positions that n neighbouring results need at most. */
static int64_t source_width(const ck_pool_plan *p, int64_t n) {
  const ck_pool_axis *a = &p->axis[2];
  int64_t size = p->src_size[2], span;
  if (a->adaptive) /* n * size / results, and one on each side; the quotient rounded up first, or it might overflow */
    span = n < p->dst_size[2] ? n * ck_ceil_div(size, ck_max(1, p->dst_size[2])) + 2 : size;
  else if (p->backward)
    span = (ck_min(n, p->dst_size[2]) + a->dilation * (a->kernel - 1)) / a->stride + 2;
  else
    span = (ck_min(n, p->dst_size[2]) - 1) * a->stride + a->dilation * (a->kernel - 1) + 1;
  return ck_min(span, size);
}

/* Whether all images' channels can be lanes alike: their strides continue from image to image. */
static int mergeable(const ck_pool_plan *p, const ck_tensor *t) {
  return p->images == 1 || !t->data || p->channels == 1 || t->stride[0] == p->channels * t->stride[1];
}

static void merge_images(ck_pool_plan *p) {
  ck_tensor *tensors[3] = {&p->src, &p->dst, &p->indices};
  if (!mergeable(p, &p->src) || !mergeable(p, &p->dst) || !mergeable(p, &p->indices))
    return;
  for (int i = 0; i < 3 && p->channels == 1; i++)
    tensors[i]->stride[1] = tensors[i]->stride[0];
  p->channels *= p->images;
  p->images = 1;
}

static int row_lanes_can(const ck_pool_plan *p) {
  const ck_pool_axis *a = &p->axis[2];
  return !a->adaptive && a->kernel <= MOST_TAPS && a->stride <= MOST_STRIDE && a->dilation <= MOST_REACH &&
         a->dilation * (a->kernel - 1) <= MOST_REACH;
}

static void choose_lanes(ck_pool_plan *p) {
  const int64_t vl = p->k->vector, item = p->k->real_size;
  if (!p->backward && p->channels >= vl && p->src.stride[1] == item) {
    p->lanes = CK_POOL_DIRECT;
    p->vectors = ck_min(DIRECT_VECTORS, p->channels / vl);
    p->units = ck_ceil_div(p->channels / vl, p->vectors) + (p->channels % vl != 0);
    return;
  }
  int adjacent = p->src.stride[1] == item && 2 * p->channels >= vl;
  if (row_lanes_can(p) && !adjacent && (2 * p->dst_size[2] >= vl || 2 * p->images * p->channels < vl)) {
    p->lanes = CK_POOL_ROW;
    p->units = p->channels;
    return;
  }
  merge_images(p);
  p->lanes = CK_POOL_STAGED;
  p->vectors = 1;
  p->units = ck_ceil_div(p->channels, vl);
}

/* ---------------------------------------------------------------- blocks */

static void set_row(ck_pool_plan *p, int64_t x) {
  const ck_pool_axis *a = &p->axis[2];
  const int64_t vl = p->k->vector;
  p->phases = 1;
  p->stage_rows = 1;
  if (p->lanes != CK_POOL_ROW) {
    int64_t most = p->lanes == CK_POOL_DIRECT && p->channels % vl == 0 ? DIRECT_POSITIONS : STAGE_POSITIONS;
    int64_t reach = a->adaptive ? 1 : p->backward ? 1 : a->dilation * (a->kernel - 1) + 1;
    p->row_groups = x;
    p->row_ld = p->vectors * vl;
    p->width = ck_min(most, source_width(p, x));
    if (p->lanes == CK_POOL_STAGED && (a->adaptive || p->backward || a->stride <= reach))
      p->stage_rows = ck_max(1, STAGE_POSITIONS / ck_max(1, p->width));
    return;
  }
  int64_t reach = a->dilation * (a->kernel - 1);
  p->row_groups = p->backward ? a->stride : 1;
  p->row_ld = ck_round_up(ck_ceil_div(x, p->row_groups), vl);
  p->phases = p->backward ? 1 : a->stride;
  p->width = p->phases * ck_round_up(reach / a->stride + p->row_ld + 2, vl);
}

/* Results of a block along each axis, as many as the scratch holds. */
static void first_block(const ck_pool_plan *p, int64_t block[4]) {
  int64_t lanes = p->lanes == CK_POOL_ROW ? 1 : p->vectors * p->k->vector, room = BLOCK_ELEMENTS / lanes;
  block[3] = ck_min(p->dst_size[2], ck_min(room, p->lanes == CK_POOL_ROW ? ROW_POSITIONS / p->axis[2].stride : room));
  int narrow = p->lanes == CK_POOL_STAGED || (p->lanes == CK_POOL_DIRECT && p->channels % p->k->vector);
  while (narrow && block[3] > 1 && source_width(p, block[3]) > STAGE_POSITIONS)
    block[3] = ck_ceil_div(block[3], 2);
  block[2] = ck_min(p->dst_size[1], ck_max(1, room / ck_max(1, block[3])));
  block[1] = ck_min(p->dst_size[0], ck_max(1, room / ck_max(1, block[3] * block[2])));
}

/* Enough tasks for all threads, none too small. */
static void cut(ck_pool_plan *p, int threads) {
  int64_t size[4] = {p->images * p->units, p->dst_size[0], p->dst_size[1], p->dst_size[2]}, block[4];
  int64_t lanes = p->lanes == CK_POOL_ROW ? 1 : p->vectors * p->k->vector;
  first_block(p, block);
  double unit = 1, all;
  for (int d = 0; d < 3; d++)
    unit *= (double)ck_max(p->src_size[d], p->dst_size[d]);
  unit *= (double)lanes;
  all = unit * (double)size[0];
  double task = all / (threads > 1 ? 8.0 * threads : 1.0);
  task = task < LEAST_TASK_ELEMENTS ? LEAST_TASK_ELEMENTS : task > MOST_TASK_ELEMENTS ? MOST_TASK_ELEMENTS : task;
  block[0] = unit >= task ? 1 : (int64_t)(task / unit);
  for (int d = 1; d < 3 && threads > 1; d++) { /* depth, then height, where units are too few or too large */
    double blocks = 1;
    for (int e = 1; e < 4; e++)
      blocks *= (double)ck_ceil_div(size[e], ck_max(1, block[e]));
    int64_t parts = (int64_t)(unit / task / blocks);
    if (parts > 1)
      block[d] = ck_max(d == 1 ? 1 : ck_min(4, block[d]), ck_ceil_div(block[d], parts));
  }
  p->grid = ck_grid_make(size, block);
  set_row(p, ck_grid_largest(&p->grid, 3));
}

void ck_pool_place(const ck_pool_plan *p, ck_arena *arena, ck_pool_buffers *b) {
  const int64_t item = p->k->real_size, word = sizeof(int64_t);
  int row = p->lanes == CK_POOL_ROW;
  int64_t x = ck_grid_largest(&p->grid, 3), elements = p->row_groups * p->row_ld;
  int64_t all = elements * ck_grid_largest(&p->grid, 1) * ck_grid_largest(&p->grid, 2);
  int64_t staged = row ? p->width : ck_min(p->width * p->stage_rows, ck_max(STAGE_POSITIONS, p->width)) * p->k->vector;
  int64_t divisors = ck_max(row ? ck_max(p->row_ld, p->width) : p->width, x);
  if (p->lanes == CK_POOL_DIRECT && p->channels % p->k->vector == 0)
    staged = divisors = 0;
  divisors = ck_max(divisors, ck_max(x, p->row_ld));
  b->raw = ck_take(arena, staged * item);
  b->split = ck_take(arena, p->phases > 1 ? staged * item : 0);
  b->h = ck_take(arena, elements * item);
  b->h_index = ck_take(arena, p->indexed ? elements * item : 0);
  b->acc = ck_take(arena, all * item);
  b->acc_index = ck_take(arena, p->indexed ? all * word : 0);
  b->joined = ck_take(arena, row && p->row_groups > 1 ? elements * item : 0);
  b->lane = ck_take(arena, row && p->indexed ? p->row_ld * item : 0);
  b->divisor = ck_take(arena, p->max ? 0 : divisors * item);
  b->counts = ck_take(arena, p->max ? 0 : divisors * word);
  b->list = ck_take(arena, row ? p->axis[2].kernel * word : 0);
  b->first = ck_take(arena, p->indexed ? x * word : 0);
  b->taps = ck_take(arena, p->row_groups * (int64_t)sizeof(ck_pool_taps));
  b->users = ck_take(arena, ck_min(CK_POOL_USERS, p->src_size[1]) * (int64_t)sizeof(ck_progression));
  b->row_dst = ck_take(arena, p->stage_rows * (int64_t)sizeof(int32_t));
  b->row_src = ck_take(arena, p->stage_rows * word);
}

ck_pool_plan ck_pool_plan_make(const ck_pool *call, ck_pool_op op, int threads) {
  const ck_pool_shape *s = &call->shape;
  int backward = op == CK_POOL_AVERAGE_GRAD;
  ck_pool_plan p = {.call = call,
                    .k = call->kernels,
                    .max = op == CK_POOL_MAX,
                    .backward = backward,
                    .src = backward ? call->y : call->x,
                    .dst = backward ? call->x : call->y,
                    .images = s->n,
                    .channels = s->channels};
  p.indexed = p.max && call->indices.data;
  p.indices = call->indices;
  for (int d = 0; d < 3; d++) {
    p.axis[d] = ck_pool_axis_make(s, d);
    p.src_size[d] = backward ? s->out[d] : s->in[d];
    p.dst_size[d] = backward ? s->in[d] : s->out[d];
  }
  int64_t sizes[5] = {s->n, s->channels, p.src_size[0], p.src_size[1], p.src_size[2]};
  p.src_end = ck_end(p.src.data, sizes, p.src.stride, 5, p.k->real_size);
  choose_lanes(&p);
  cut(&p, threads);
  ck_pool_buffers b;
  ck_arena count = {0};
  ck_pool_place(&p, &count, &b);
  p.bytes = count.used;
  return p;
}
