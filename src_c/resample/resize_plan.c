#include "resize_plan.h"

#include "base/places.h"

#include <math.h>

enum {
  MOST_POSITIONS = 1024,     /* of a row in scratch: bounds the tables */
  MOST_LANES = 512,          /* channels resampled at once where they are adjacent */
  ROWS_BYTES = 128 * 1024,   /* of all rows in scratch: half of a common level 2 holds them beside the image's */
  COPY_BYTES = 384 * 1024,   /* of planes, before and after, that are copied: they stay in a common level 2 of 1 MiB */
  TASK_ELEMENTS = 64 * 1024, /* about 0.05 ms */
  TASKS_A_THREAD = 4,
  KEPT_TAPS = 2048,      /* outputs along an axis whose taps are computed once a call */
  MOST_ENTRIES = 16,     /* outputs that read an element of x, for the gradient to be gathered */
  MOST_TAPS = 16 * 1024, /* of a table with antialias, where many elements count: 192 KiB */
  CHUNK = 64,            /* positions whose weights are rounded at once */
  SLACK = 64             /* bytes that the last vector of a row in scratch may run over */
};

/* ---------------------------------------------------------------- tables along x */

void ck_resize_fill_table(const ck_resize_plan *p, const ck_table *t, int64_t first, int64_t count, int64_t low,
                          int64_t high) {
  const ck_resize_axis *a = &p->axis[2];
  const int64_t origin = p->rows_first ? low : 0;
  double weight[CHUNK];
  ck_taps at[CHUNK];
  for (int64_t base = 0; base < count * p->each; base += CHUNK) {
    const int64_t n = ck_min(CHUNK, count * p->each - base);
    for (int64_t j = 0; j < n; j++)
      at[j] = ck_taps_at(a, first + (base + j) / p->each);
    for (int64_t k = 0; k < a->count; k++) {
      int64_t *offset = t->offset + k * t->ld + base;
      for (int64_t j = 0; j < n; j++) {
        const ck_tap tap = ck_tap_of(a, &at[j], k);
        const int inside = tap.index >= low && tap.index < high;
        const int64_t channel = (base + j) % p->each;
        offset[j] = inside ? (tap.index - origin) * p->table_pixel + channel * p->table_lane : CK_NOWHERE;
        weight[j] = tap.weight;
      }
      if (t->weight)
        p->k->narrow((char *)t->weight + (k * t->ld + base) * p->k->real_size, weight, n);
    }
  }
}

ck_reach ck_resize_read(const ck_resize_plan *p, int64_t first, int64_t count) {
  if (!p->rows_first)
    return (ck_reach){0, p->call->in[2]};
  return (ck_reach){ck_taps_at(&p->axis[2], first).first, ck_taps_at(&p->axis[2], first + count - 1).last + 1};
}

static void set_entry(const ck_resize_plan *p, const ck_table *t, int64_t tap, int64_t at, int64_t offset,
                      double weight) {
  t->offset[tap * t->ld + at] = offset;
  p->k->narrow((char *)t->weight + (tap * t->ld + at) * p->k->real_size, &weight, 1);
}

ck_table ck_resize_inverse_table(const ck_resize_plan *p, ck_table t, ck_reach over, int64_t low, int64_t high) {
  const ck_resize_axis *a = &p->axis[2];
  const int64_t item = p->k->real_size, count = high - low;
  int64_t used[MOST_POSITIONS] = {0};
  t.taps = 0;
  if ((over.end - over.first) * p->each > p->width || count > MOST_POSITIONS)
    return t;
  for (int64_t o = over.first; o < over.end; o++) {
    const ck_taps at = ck_taps_at(a, o);
    for (int64_t k = 0; k < a->count; k++) {
      const ck_tap tap = ck_tap_of(a, &at, k);
      const int64_t i = tap.index - low;
      if (i < 0 || i >= count)
        continue;
      const int64_t m = used[i];
      if (m == MOST_ENTRIES) {
        t.taps = 0;
        return t;
      }
      used[i] = m + 1;
      t.taps = ck_max(t.taps, m + 1);
      for (int64_t e = 0; e < p->each; e++)
        set_entry(p, &t, m, i * p->each + e, ((o - over.first) * p->each + e) * p->lanes * item, tap.weight);
    }
  }
  t.taps = ck_max(t.taps, 1);
  for (int64_t i = 0; i < count * p->each; i++)
    for (int64_t m = used[i / p->each]; m < t.taps; m++)
      set_entry(p, &t, m, i, CK_NOWHERE, 0);
  return t;
}

/* ---------------------------------------------------------------- plan */

static ck_table take_table(const ck_resize_plan *p, ck_arena *arena, int64_t taps, int64_t ld, int weighted) {
  ck_table t = {.taps = taps, .ld = ld, .offset = ck_take(arena, taps * ld * (int64_t)sizeof(int64_t))};
  if (weighted)
    t.weight = ck_take(arena, taps * ld * p->k->real_size);
  return t;
}

static ck_table take_outputs(const ck_resize_plan *p, ck_arena *arena) {
  return take_table(p, arena, p->axis[2].count, p->width, p->axis[2].count > 1);
}

static ck_table take_inverse(const ck_resize_plan *p, ck_arena *arena) {
  return take_table(p, arena, MOST_ENTRIES, ck_round_up(ck_grid_largest(&p->grid, 3) * p->each, p->k->vector), 1);
}

ck_resize_buffers ck_resize_place(const ck_resize_plan *p, ck_arena *arena) {
  const int64_t vector_bytes = p->copied ? p->k->vector * p->k->real_size : 0;
  const int64_t *in = p->call->in, *out = p->call->out;
  ck_resize_buffers b = {.row = ck_take(arena, p->rows * p->row_bytes), .table = p->shared, .inverse = p->inverse};
  b.x = ck_take(arena, in[0] * in[1] * in[2] * vector_bytes);
  b.y = ck_take(arena, out[0] * out[1] * out[2] * vector_bytes);
  if (!p->shared_whole)
    b.table = take_outputs(p, arena);
  if (!p->shared_whole && p->backward)
    b.inverse = take_inverse(p, arena);
  for (int d = 0; d < 2 && p->backward; d++)
    b.reach[d] = ck_take(arena, ck_grid_largest(&p->grid, d + 1) * (int64_t)sizeof(ck_reach));
  return b;
}

static int64_t whole_ratio(double over, double times) {
  return times >= 1 && over >= times && over <= 0x1p53 && fmod(over, times) == 0 ? (int64_t)(over / times) : 0;
}

static void set_axes(ck_resize_plan *p) {
  const ck_resize *call = p->call;
  for (int d = 0; d < 3; d++) {
    const int still = call->whole_in[d] == 1 && call->whole_out[d] == 1;
    p->axis[d] = (ck_resize_axis){.in = call->in[d],
                                  .out = call->out[d],
                                  .first_in = call->first_in[d],
                                  .first_out = call->first_out[d],
                                  .whole_in = call->whole_in[d],
                                  .sampling = call->sampling,
                                  .times = call->times[d],
                                  .over = call->over[d],
                                  .before = call->before,
                                  .after = call->after,
                                  .count = still ? 1 : ck_sampling_taps(call->sampling)};
    if (!call->antialias) {
      p->axis[d].ratio = whole_ratio(call->over[d], call->times[d]);
      continue;
    }
    p->axis[d].stretch = fmax(call->times[d] / call->over[d], 1);
    p->axis[d].count = ck_spread_count(&p->axis[d]);
  }
}

/* Where the image shrinks there are fewer sums of rows than rows: resampling along x, the dearer half, comes last. With
 * antialias it always does, since any number of rows may count. */
static int rows_first(const ck_resize_plan *p) {
  const int64_t *in = p->call->whole_in, *out = p->call->whole_out;
  if (p->call->antialias)
    return !p->backward;
  if (p->backward || p->axis[2].count == 1 || p->axis[0].count * p->axis[1].count == 1)
    return 0;
  return in[2] <= MOST_POSITIONS && out[2] <= in[2] && 4 * out[2] >= in[2] && out[0] <= in[0] && out[1] < in[1];
}

/* A copy of a vector of channels of one image. */
static ck_tensor copy_of(const ck_resize_plan *p, const int64_t size[3]) {
  ck_tensor t = {.stride = {0, p->k->real_size}};
  t.stride[4] = p->k->vector * p->k->real_size;
  t.stride[3] = size[2] * t.stride[4];
  t.stride[2] = size[1] * t.stride[3];
  return t;
}

/* How channels are taken: many at once where they are adjacent, a vector of them where planes are small, or one. */
static void set_lanes(ck_resize_plan *p) {
  const ck_resize *call = p->call;
  const int64_t item = p->k->real_size, vector = p->k->vector;
  const int64_t sizes[] = {call->in[0], call->in[1], call->in[2], vector * item};
  const int64_t after[] = {call->out[0], call->out[1], call->out[2], vector * item};
  int64_t in, out;
  const int adjacent = call->channels > 1 && (call->x.stride[1] == item || call->y.stride[1] == item);
  p->copied = !adjacent && 4 * call->channels >= vector && ck_product(sizes, 4, &in) && ck_product(after, 4, &out) &&
              in <= COPY_BYTES && out <= COPY_BYTES - in;
  p->x = p->copied ? copy_of(p, call->in) : call->x;
  p->y = p->copied ? copy_of(p, call->out) : call->y;
  if (p->copied) {
    p->blocks = ck_ceil_div(call->channels, vector);
    p->lanes = vector;
  } else if (adjacent) {
    p->blocks = ck_ceil_div(call->channels, p->rows_first ? ROWS_BYTES / (MOST_POSITIONS * item) : MOST_LANES);
    p->lanes = p->blocks > 1 ? ck_round_up(ck_ceil_div(call->channels, p->blocks), vector) : call->channels;
  } else {
    p->blocks = call->channels;
    p->lanes = 1;
  }
  const int64_t pixel = call->channels * item;
  p->each = 1;
  if (adjacent && 2 * call->channels < vector && call->x.stride[1] == item && call->y.stride[1] == item &&
      call->x.stride[4] == pixel && call->y.stride[4] == pixel) {
    p->each = call->channels;
    p->lanes = 1;
  }
  p->x_step = p->each > 1 ? item : p->x.stride[4];
  p->y_step = p->each > 1 ? item : p->y.stride[4];
}

/* The elements of x that neighbouring outputs read together. */
static int64_t span_of(const ck_resize_axis *a, int64_t outputs) {
  const double apart = ceil((double)(outputs - 1) * a->times / a->over);
  return (int64_t)fmin((double)a->in, apart + (double)a->count + 1);
}

/* The outputs of x with antialias whose taps a table holds, and of whose elements scratch has a row. */
static int64_t most_spread(const ck_resize_plan *p, int64_t most) {
  const ck_resize_axis *a = &p->axis[2];
  most = ck_max(1, ck_min(most, MOST_TAPS / a->count));
  const int64_t room = ROWS_BYTES / (p->lanes * p->each * p->k->real_size);
  while (!p->backward && most > 1 && span_of(a, most) > room)
    most = ck_ceil_div(most, 2);
  return most;
}

/* Blocks of what is written: rows as long as scratch allows, then rows, planes and images until a task is worth one. A
 * copy is never cut. */
static void set_blocks(ck_resize_plan *p) {
  const ck_resize *call = p->call;
  const int64_t *size = p->backward ? call->in : call->out;
  const int64_t together = p->lanes * p->each;
  int64_t left = TASK_ELEMENTS / together, whole[4] = {call->n * p->blocks, size[0], size[1], size[2]}, block[4];
  p->rows = p->backward || p->rows_first ? 1 : p->axis[0].count * p->axis[1].count;
  int64_t most = ck_max(1, ck_min(MOST_POSITIONS, ROWS_BYTES / (p->rows * together * p->k->real_size)));
  if (p->copied || (p->rows_first && !call->antialias))
    most = ck_max(call->in[2], call->out[2]);
  else if (call->antialias)
    most = most_spread(p, most);
  p->width = ck_round_up(ck_min(most, call->out[2]) * p->each, p->k->vector);
  for (int d = 3; d >= 0; d--) {
    /* An element of the gradient costs as much as the outputs that read it. */
    int64_t cost = p->backward && d > 0 ? ck_ceil_div(call->out[d - 1], call->in[d - 1]) : 1;
    int64_t limit = d < 3 ? MOST_POSITIONS : p->backward && call->out[2] > most ? ck_max(1, most / cost - 4) : most;
    if (p->rows_first && d == 2) /* few outputs may read much */
      limit = ck_min(limit, ck_ceil_div(whole[0] * whole[1] * whole[2], TASKS_A_THREAD * call->run.threads));
    block[d] = ck_max(1, ck_min(ck_min(whole[d], limit), left / cost));
    if (p->copied && d > 0)
      block[d] = whole[d];
    left = ck_max(1, left / (block[d] * cost));
  }
  p->grid = ck_grid_make(whole, block);
}

/* A row of scratch: outputs or, summed first, elements of x; and what the table's offsets are of. */
static void set_row(ck_resize_plan *p) {
  const int64_t item = p->k->real_size,
                width = p->rows_first ? span_of(&p->axis[2], ck_grid_largest(&p->grid, 3)) * p->each : p->width;
  p->row_bytes = width * p->lanes * item + SLACK;
  p->table_pixel = p->rows_first ? p->each * p->lanes * item : p->x.stride[4];
  p->table_lane = p->rows_first ? item : p->x.stride[1];
}

ck_resize_plan ck_resize_plan_make(const ck_resize *call, ck_resize_op op) {
  ck_resize_plan p = {.call = call, .k = call->kernels, .backward = op == CK_RESIZE_GRAD_X};
  set_axes(&p);
  p.rows_first = rows_first(&p);
  set_lanes(&p);
  set_blocks(&p);
  set_row(&p);
  p.shared_whole = p.grid.parts[3] == 1 && call->out[2] * p.each <= p.width;
  ck_arena shared = {0}, own = {0};
  for (int d = 0; d < 3; d++)
    ck_take(&shared, p.axis[d].out <= KEPT_TAPS ? p.axis[d].out * (int64_t)sizeof(ck_taps) : 0);
  if (p.shared_whole)
    take_outputs(&p, &shared);
  if (p.shared_whole && p.backward)
    take_inverse(&p, &shared);
  ck_resize_place(&p, &own);
  p.shared_bytes = shared.used;
  p.bytes = own.used;
  return p;
}

void ck_resize_fill_shared(ck_resize_plan *p) {
  const ck_resize *call = p->call;
  ck_arena arena = {.base = call->run.workspace};
  for (int d = 0; d < 3; d++) {
    ck_resize_axis *a = &p->axis[d];
    if (a->out > KEPT_TAPS)
      continue;
    ck_taps *kept = ck_take(&arena, a->out * (int64_t)sizeof(ck_taps));
    for (int64_t o = 0; o < a->out; o++)
      kept[o] = ck_taps_at(a, o);
    a->kept = kept;
  }
  if (!p->shared_whole)
    return;
  p->shared = take_outputs(p, &arena);
  const ck_reach read = ck_resize_read(p, 0, call->out[2]);
  ck_resize_fill_table(p, &p->shared, 0, call->out[2], read.first, read.end);
  if (p->backward)
    p->inverse = ck_resize_inverse_table(p, take_inverse(p, &arena), (ck_reach){0, call->out[2]}, 0, call->in[2]);
}

/* ---------------------------------------------------------------- channels of an image */

ck_resize_part ck_resize_part_at(const ck_resize_plan *p, const ck_resize_buffers *b, int64_t index) {
  const ck_resize *call = p->call;
  ck_resize_part at = {.x = b->x, .y = b->y, .image = index / p->blocks, .channel = index % p->blocks * p->lanes};
  at.channels = ck_min(p->lanes, call->channels - at.channel);
  at.lanes = p->copied ? p->lanes : at.channels;
  if (!p->copied) {
    at.x = (char *)call->x.data + at.image * call->x.stride[0] + at.channel * call->x.stride[1];
    at.y = (char *)call->y.data + at.image * call->y.stride[0] + at.channel * call->y.stride[1];
  }
  return at;
}

void ck_resize_load(const ck_resize_plan *p, const ck_resize_part *at) {
  const ck_resize *call = p->call;
  const int64_t *size = p->backward ? call->out : call->in;
  const ck_places from =
      ck_places_of(p->backward ? &call->y : &call->x, call->n, call->channels, size, p->k->real_size, at->image);
  if (p->copied)
    ck_load_places(p->k, &from, at->channel, at->channels, 0, from.count, p->backward ? at->y : at->x);
}

void ck_resize_store(const ck_resize_plan *p, const ck_resize_part *at) {
  const ck_resize *call = p->call;
  const int64_t *size = p->backward ? call->in : call->out;
  const ck_places to =
      ck_places_of(p->backward ? &call->x : &call->y, call->n, call->channels, size, p->k->real_size, at->image);
  if (p->copied)
    ck_store_places(p->k, &to, at->channel, at->channels, 0, to.count, p->backward ? at->x : at->y);
}

const char *ck_resize_x_end(const ck_resize_plan *p, const ck_resize_part *at) {
  const ck_resize *call = p->call;
  return p->copied ? at->x + call->in[0] * p->x.stride[2]
                   : ck_tensor_end(&call->x, call->n, call->channels, call->in, p->k->real_size);
}
