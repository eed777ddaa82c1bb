/* interpolate and its gradient.
 *
 * Each axis by itself: a row of the input is resampled along x once, through a table of offsets and weights, and kept
 * for the next output rows that need it; an output row is a weighted sum of a few such rows. Where the image shrinks, a
 * weighted sum of rows of the input is resampled instead; with antialias, always, and of any number of them. The
 * gradient is the adjoint in that order: a weighted sum of the gradient's rows that saw a row of the input, then
 * gathered along x. Where channels lie in planes and these are small, a vector of channels at a time is copied to
 * scratch and back, or rows would be too short to be worth their loops. An element's sum has one order, whatever the
 * blocks and the route.
 */
#include "resize_plan.h"

#include "base/parallel.h"

enum {
  BATCH = 64,                /* rows summed at once */
  THREAD_ELEMENTS = 1 << 15, /* waking a thread takes about as long */
};

/* ---------------------------------------------------------------- forward */

static ck_lookup sample_of(const ck_resize_plan *p, const ck_resize_part *at, const ck_table *t, int64_t count) {
  const int64_t item = p->k->real_size;
  return (ck_lookup){.count = count,
                     .lanes = at->lanes,
                     .taps = t->taps,
                     .ld = t->ld,
                     .offset = t->offset,
                     .weight = t->weight,
                     .dst_pixel = p->lanes * item,
                     .dst_lane = item};
}

enum { MOST_ROWS = 16 }; /* of x that an output row is made of: taps along z by those along y */

/* Rows of x by number: resampled along x, in a slot of scratch; or, where an output row is one of them, in the output
 * row that was last written. */
typedef struct held_rows {
  int64_t held[MOST_ROWS];
  char *last;
} held_rows;

/* An output row of one tap along z and y: straight from x or, of a plane, as the row before it if that read the same
 * one (many lanes at each place are as quick to copy from x, which is smaller). */
static void forward_copy(const ck_resize_plan *p, const ck_resize_part *at, ck_lookup *sample, int64_t row, char *dst,
                         held_rows *rows) {
  const double one = 1;
  const char *last = rows->last;
  sample->dst = rows->last = dst;
  sample->dst_pixel = p->y_step;
  sample->dst_lane = p->y.stride[1];
  if (rows->held[0] != row || at->lanes > 1) {
    rows->held[0] = row;
    p->k->gather(sample);
    return;
  }
  ck_blend blend = {.rows = 1,
                    .count = sample->count,
                    .lanes = at->lanes,
                    .row = &last,
                    .weight = &one,
                    .row_pixel = p->y_step,
                    .row_lane = p->y.stride[1],
                    .dst = dst,
                    .dst_pixel = p->y_step,
                    .dst_lane = p->y.stride[1]};
  p->k->blend(&blend);
}

/* Weighted sums of rows that are named one by one, in batches. */
typedef struct sums {
  const ck_kernels *k;
  ck_blend blend;
  const char *row[BATCH];
  double weight[BATCH];
} sums;

static void sums_flush(sums *s) {
  s->blend.row = s->row;
  s->blend.weight = s->weight;
  if (s->blend.rows)
    s->k->blend(&s->blend);
}

static void sums_add(sums *s, const char *row, double weight) {
  if (s->blend.rows == BATCH) {
    sums_flush(s);
    s->blend.add = 1;
    s->blend.rows = 0;
  }
  s->row[s->blend.rows] = row;
  s->weight[s->blend.rows++] = weight;
}

/* One output row: its taps along z and y summed in scratch, then resampled along x. */
static void forward_sum(const ck_resize_plan *p, const ck_resize_buffers *b, const ck_resize_part *at,
                        const ck_box *box, ck_reach read, int64_t z, int64_t y) {
  const int64_t item = p->k->real_size;
  const ck_taps over_z = ck_taps_at(&p->axis[0], z), over_y = ck_taps_at(&p->axis[1], y);
  sums s;
  s.k = p->k;
  s.blend = (ck_blend){.count = (read.end - read.first) * p->each,
                       .lanes = at->lanes,
                       .row_pixel = p->x_step,
                       .row_lane = p->x.stride[1],
                       .dst = b->row,
                       .dst_pixel = p->lanes * item,
                       .dst_lane = item};
  for (int64_t i = 0; i < p->axis[0].count; i++) {
    const ck_tap tz = ck_tap_of(&p->axis[0], &over_z, i);
    for (int64_t j = 0; j < p->axis[1].count && tz.index >= 0; j++) {
      const ck_tap ty = ck_tap_of(&p->axis[1], &over_y, j);
      if (ty.index >= 0)
        sums_add(&s, at->x + tz.index * p->x.stride[2] + ty.index * p->x.stride[3] + read.first * p->x.stride[4],
                 tz.weight * ty.weight);
    }
  }
  sums_flush(&s);
  ck_lookup sample = sample_of(p, at, &b->table, box->size[3] * p->each);
  sample.src = b->row;
  sample.src_lane = item;
  sample.src_end = b->row + p->row_bytes;
  sample.dst = at->y + z * p->y.stride[2] + y * p->y.stride[3] + box->first[3] * p->y.stride[4];
  sample.dst_pixel = p->y_step;
  sample.dst_lane = p->y.stride[1];
  sample.checked = p->call->antialias;
  p->k->gather(&sample);
}

/* One output row: its taps along z and y, each a row of x resampled along x, which is done unless its slot still holds
 * it from an earlier row. */
static void forward_row(const ck_resize_plan *p, const ck_resize_buffers *b, const ck_resize_part *at,
                        const ck_box *box, int64_t z, int64_t y, held_rows *rows) {
  const ck_resize *call = p->call;
  const int64_t item = p->k->real_size;
  const ck_taps over_z = ck_taps_at(&p->axis[0], z), over_y = ck_taps_at(&p->axis[1], y);
  const int64_t nz = p->axis[0].count, ny = p->axis[1].count;
  char *dst = at->y + z * p->y.stride[2] + y * p->y.stride[3] + box->first[3] * p->y.stride[4];
  ck_lookup sample = sample_of(p, at, &b->table, box->size[3] * p->each);
  sample.src_lane = p->x.stride[1];
  sample.src_end = ck_resize_x_end(p, at);
  const char *row[MOST_ROWS];
  double weight[MOST_ROWS];
  for (int64_t i = 0; i < nz * ny; i++) {
    const int64_t iz = over_z.index[i / ny], iy = over_y.index[i % ny], number = iz * call->in[1] + iy;
    const int64_t slot = iz % nz * ny + iy % ny;
    sample.src = at->x + iz * p->x.stride[2] + iy * p->x.stride[3];
    if (nz * ny == 1) {
      forward_copy(p, at, &sample, number, dst, rows);
      return;
    }
    row[i] = sample.dst = b->row + slot * p->row_bytes;
    weight[i] = over_z.weight[i / ny] * over_y.weight[i % ny];
    sample.whole = 1;
    if (rows->held[slot] != number)
      p->k->gather(&sample);
    rows->held[slot] = number;
  }
  ck_blend blend = {.rows = nz * ny,
                    .count = sample.count,
                    .lanes = at->lanes,
                    .row = row,
                    .weight = weight,
                    .row_pixel = p->lanes * item,
                    .row_lane = item,
                    .dst = dst,
                    .dst_pixel = p->y_step,
                    .dst_lane = p->y.stride[1]};
  p->k->blend(&blend);
}

static void forward_task(ck_worker *worker, void *context, int64_t index) {
  const ck_resize_plan *p = context;
  ck_box box = ck_grid_box(&p->grid, index);
  ck_arena arena = {.base = worker->scratch};
  ck_resize_buffers b = ck_resize_place(p, &arena);
  const ck_reach read = ck_resize_read(p, box.first[3], box.size[3]);
  if (!p->shared_whole)
    ck_resize_fill_table(p, &b.table, box.first[3], box.size[3], read.first, read.end);
  for (int64_t q = box.first[0]; q < box.first[0] + box.size[0]; q++) {
    const ck_resize_part at = ck_resize_part_at(p, &b, q);
    held_rows rows = {.last = NULL};
    for (int i = 0; i < MOST_ROWS; i++)
      rows.held[i] = -1;
    ck_resize_load(p, &at);
    for (int64_t z = box.first[1]; z < box.first[1] + box.size[1]; z++)
      for (int64_t y = box.first[2]; y < box.first[2] + box.size[2] && !ck_stopped_at(worker, y - box.first[2], 16);
           y++) {
        if (p->rows_first)
          forward_sum(p, &b, &at, &box, read, z, y);
        else
          forward_row(p, &b, &at, &box, z, y, &rows);
      }
    ck_resize_store(p, &at);
  }
}

/* ---------------------------------------------------------------- gradient of x */

static void zero_row(const ck_resize_plan *p, const ck_resize_part *at, char *dst, int64_t count) {
  ck_blend blend = {
      .count = count * p->each, .lanes = at->lanes, .dst = dst, .dst_pixel = p->x_step, .dst_lane = p->x.stride[1]};
  p->k->blend(&blend);
}

/* The sum of the gradient's rows that read row (z, y) of x, over outputs first.. of x, into scratch. Returns whether
 * there are any. */
static int backward_sum(const ck_resize_plan *p, const ck_resize_buffers *b, const ck_resize_part *at, int64_t z,
                        int64_t y, ck_reach over_z, ck_reach over_y, int64_t first, int64_t count) {
  const int64_t item = p->k->real_size;
  sums s;
  s.k = p->k;
  s.blend = (ck_blend){.count = count * p->each,
                       .lanes = at->lanes,
                       .row_pixel = p->y_step,
                       .row_lane = p->y.stride[1],
                       .dst = b->row,
                       .dst_pixel = p->lanes * item,
                       .dst_lane = item};
  for (int64_t oz = over_z.first; oz < over_z.end; oz++) {
    const double wz = ck_weight_on(&p->axis[0], oz, z);
    for (int64_t oy = over_y.first; oy < over_y.end && wz != 0; oy++) {
      const double wy = ck_weight_on(&p->axis[1], oy, y);
      if (wy != 0)
        sums_add(&s, at->y + oz * p->y.stride[2] + oy * p->y.stride[3] + first * p->y.stride[4], wz * wy);
    }
  }
  sums_flush(&s);
  return s.blend.rows > 0;
}

/* Row (z, y) of the block, counted from its first, from outputs first.. of x: gathered where the inverse table has
 * taps, else added to what is there. Both add an element's gradients in the same order. */
static void backward_row(const ck_resize_plan *p, const ck_resize_buffers *b, const ck_resize_part *at,
                         const ck_box *box, int64_t z, int64_t y, int64_t first, int64_t count) {
  const int64_t iz = box->first[1] + z, iy = box->first[2] + y, item = p->k->real_size;
  char *row = at->x + iz * p->x.stride[2] + iy * p->x.stride[3], *dst = row + box->first[3] * p->x.stride[4];
  const int any = backward_sum(p, b, at, iz, iy, b->reach[0][z], b->reach[1][y], first, count);
  if (b->inverse.taps && any) {
    ck_lookup sample = sample_of(p, at, &b->inverse, box->size[3] * p->each);
    sample.src = b->row;
    sample.src_lane = item;
    sample.src_end = b->row + p->row_bytes;
    sample.dst = dst;
    sample.dst_pixel = p->x_step;
    sample.dst_lane = p->x.stride[1];
    sample.checked = 1;
    p->k->gather(&sample);
  } else if (b->inverse.taps) {
    zero_row(p, at, dst, box->size[3]);
  } else if (any) {
    ck_lookup sample = sample_of(p, at, &b->table, count * p->each);
    sample.src = row;
    sample.src_lane = p->x.stride[1];
    sample.dst = b->row;
    p->k->scatter(&sample);
  }
}

static void backward_part(const ck_resize_plan *p, ck_resize_buffers *b, const ck_resize_part *at, const ck_box *box,
                          ck_reach over, ck_worker *worker) {
  const int64_t low = box->first[3], high = low + box->size[3], step = b->inverse.taps ? over.end : p->width / p->each;
  for (int64_t z = 0; z < box->size[1] && !b->inverse.taps; z++)
    for (int64_t y = 0; y < box->size[2]; y++)
      zero_row(p, at,
               at->x + (box->first[1] + z) * p->x.stride[2] + (box->first[2] + y) * p->x.stride[3] +
                   low * p->x.stride[4],
               box->size[3]);
  int64_t first = over.first;
  do { /* once even where nothing is read: a gathered row is zeroed row by row */
    const int64_t count = ck_min(step, over.end - first);
    if (!p->shared_whole && !b->inverse.taps)
      ck_resize_fill_table(p, &b->table, first, count, low, high);
    for (int64_t z = 0; z < box->size[1]; z++)
      for (int64_t y = 0; y < box->size[2]; y++)
        backward_row(p, b, at, box, z, y, first, count);
    first += step;
  } while (first < over.end && !ck_stopped(worker));
}

static void backward_task(ck_worker *worker, void *context, int64_t index) {
  const ck_resize_plan *p = context;
  ck_box box = ck_grid_box(&p->grid, index);
  ck_arena arena = {.base = worker->scratch};
  ck_resize_buffers b = ck_resize_place(p, &arena);
  for (int d = 0; d < 2; d++) {
    for (int64_t i = 0; i < box.size[d + 1]; i++)
      b.reach[d][i] = ck_reach_of(&p->axis[d], box.first[d + 1] + i, box.first[d + 1] + i);
  }
  const int64_t low = box.first[3], high = low + box.size[3];
  ck_reach over = {0, p->call->out[2]};
  if (!p->shared_whole) {
    over = ck_reach_of(&p->axis[2], low, high - 1);
    b.inverse = ck_resize_inverse_table(p, b.inverse, over, low, high);
  }
  for (int64_t q = box.first[0]; q < box.first[0] + box.size[0]; q++) {
    const ck_resize_part at = ck_resize_part_at(p, &b, q);
    ck_resize_load(p, &at);
    backward_part(p, &b, &at, &box, over, worker);
    ck_resize_store(p, &at);
  }
}

/* ---------------------------------------------------------------- entry */

/* The call with the threads that it is worth. */
static ck_resize sized(const ck_resize *call) {
  const int64_t all[] = {call->n, call->channels, ck_max(call->in[0], call->out[0]), ck_max(call->in[1], call->out[1]),
                         ck_max(call->in[2], call->out[2])};
  ck_resize here = *call;
  here.run.threads = ck_worth_threads(call->run.threads, all, sizeof all / sizeof *all, THREAD_ELEMENTS);
  return here;
}

ck_status ck_resize_workspace(const ck_resize *call, ck_resize_op op, int64_t *bytes) {
  ck_resize here = sized(call);
  ck_resize_plan p = ck_resize_plan_make(&here, op);
  *bytes = p.shared_bytes + here.run.threads * p.bytes;
  return CK_OK;
}

ck_status ck_resize_run(const ck_resize *call, ck_resize_op op) {
  ck_resize here = sized(call);
  ck_resize_plan p = ck_resize_plan_make(&here, op);
  if (ck_grid_count(&p.grid) == 0)
    return CK_OK;
  if (here.run.workspace_bytes < p.shared_bytes)
    return CK_WORKSPACE;
  ck_resize_fill_shared(&p);
  return ck_parallel(ck_grid_count(&p.grid), p.backward ? backward_task : forward_task, &p, &here.run,
                     (char *)here.run.workspace + p.shared_bytes, p.bytes);
}
