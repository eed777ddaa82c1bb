/* grid_sample and its gradients.
 *
 * For a block of output positions the offsets and weights of the corners that each reads are found once, and serve
 * every channel. Where channels lie in planes, the part of the image that the block reads is copied with a vector of
 * channels at each pixel, if it is small enough for scratch; else the image is read in place. The gradient of x is the
 * same table the other way: a task owns channels and rows of an image, and adds to them in the order of the positions.
 * No element's sum depends on the blocks, the route or the number of threads. */
#include "grid_tables.h"

#include <string.h>

#include "base/parallel.h"

enum { SPARSE = 8 }; /* pixels copied for one position at most: more, and reading in place is quicker */

/* What a table's offsets are from: a copy of the pixels it names, with a vector of channels each, or x itself. */
typedef struct origin {
  int copied;
  int64_t first, count; /* pixels of the copy */
} origin;

static origin choose_origin(const ck_grid_plan *p, const ck_grid_buffers *b, const ck_grid_extent *named,
                            int64_t count) {
  origin from = {0};
  if (!p->staged)
    return from;
  for (int d = 0; d < 3 && !ck_grid_names_none(named); d++) {
    from.first += named->least[d] * (p->unit[d] / p->vector_bytes);
    from.count += (named->most[d] - named->least[d]) * (p->unit[d] / p->vector_bytes) + (d == 2);
  }
  from.copied = from.count <= p->image_most && from.count <= SPARSE * count;
  /* The tables are for a copy: pixels are vectors of channels apart. */
  for (int64_t c = 0; c < p->corners && !from.copied; c++) {
    int64_t *offset = b->offset + c * p->ld;
    for (int64_t j = 0; j < count; j++)
      offset[j] = offset[j] >= 0 ? offset[j] / p->vector_bytes * p->in.stride[2] : CK_NOWHERE;
  }
  return from;
}

/* Where pixel 0 would be in a copy that begins with pixel `first`: only pixels of the copy are ever read. */
static char *copy_origin(const ck_grid_plan *p, char *copy, int64_t first) {
  return (char *)((uintptr_t)copy - (uintptr_t)(first * p->vector_bytes));
}

/* Points a sample at the lanes from `channel` on of what was chosen. */
static void set_origin(const ck_grid_plan *p, const ck_grid_buffers *b, const origin *from, int64_t image,
                       int64_t channel, ck_lookup *sample) {
  const ck_places in = ck_grid_in(p, image);
  if (from->copied) {
    ck_load_places(p->k, &in, channel, sample->lanes, from->first, from->count, b->image);
    sample->src = copy_origin(p, b->image, from->first);
    sample->src_end = b->image + p->image_most * p->vector_bytes;
    sample->src_lane = p->item;
  } else {
    sample->src = in.data + channel * in.lane_stride;
    sample->src_end = in.end;
    sample->src_lane = in.lane_stride;
  }
}

/* A block of positions of an image, with its tables. */
typedef struct block {
  int64_t image, first, count;
  ck_places out;
  origin from;
} block;

static block take_block(const ck_grid_plan *p, const ck_grid_buffers *b, int64_t index) {
  block at = {.image = index / p->blocks, .first = index % p->blocks * p->block};
  at.count = ck_min(p->block, p->out.count - at.first);
  at.out = ck_grid_out(p, at.image);
  ck_grid_extent named = ck_grid_fill(p, b, at.image, at.first, at.count, 0, p->call->in[3 - p->call->axes]);
  at.from = choose_origin(p, b, &named, at.count);
  return at;
}

/* ---------------------------------------------------------------- forward */

/* Lanes from `channel` on, straight from x to y. */
static void sample_in_place(const ck_grid_plan *p, const ck_grid_buffers *b, const block *at, int64_t channel,
                            int64_t lanes) {
  ck_lookup sample = ck_grid_lookup(p, b, 0, lanes);
  set_origin(p, b, &at->from, at->image, channel, &sample);
  for (int64_t q = 0, n; q < at->count; q += n) {
    char *dst;
    n = ck_run_at(&at->out, at->first + q, at->count - q, &dst);
    ck_lookup some = ck_grid_lookup_from(p, &sample, q, n);
    some.dst = dst + channel * at->out.lane_stride;
    some.dst_pixel = at->out.stride[2];
    some.dst_lane = at->out.lane_stride;
    some.whole = 0;
    p->k->gather(&some);
  }
}

/* A vector of channels out of the copy, through scratch, to y. */
static void sample_copy(const ck_grid_plan *p, const ck_grid_buffers *b, const block *at, int64_t channel,
                        int64_t lanes) {
  ck_lookup sample = ck_grid_lookup(p, b, 0, lanes);
  set_origin(p, b, &at->from, at->image, channel, &sample);
  for (int64_t q = 0; q < at->count; q += CK_GRID_CHUNK) {
    ck_lookup some = ck_grid_lookup_from(p, &sample, q, ck_min(CK_GRID_CHUNK, at->count - q));
    p->k->gather(&some);
    ck_store_places(p->k, &at->out, channel, lanes, at->first + q, some.count, b->values);
  }
}

static void forward_task(ck_worker *worker, void *context, int64_t index) {
  const ck_grid_plan *p = context;
  ck_arena arena = {.base = worker->scratch};
  ck_grid_buffers b = ck_grid_place(p, &arena);
  const int64_t part = index % p->parts, channels = p->call->channels;
  const block at = take_block(p, &b, index / p->parts);
  int64_t low = p->vectors * part / p->parts * p->k->vector;
  int64_t high = ck_min(p->vectors * (part + 1) / p->parts * p->k->vector, channels);
  int64_t step = at.from.copied ? p->k->vector : p->adjacent && !p->few ? channels : 1;
  for (int64_t c = low, n; c < high && !ck_stopped(worker); c += n) {
    n = ck_min(step, high - c);
    if (at.from.copied)
      sample_copy(p, &b, &at, c, n);
    else
      sample_in_place(p, &b, &at, c, n);
  }
}

/* ---------------------------------------------------------------- gradient of the grid */

/* A vector of channels at a time. */
static void add_vectors(const ck_grid_plan *p, const ck_grid_buffers *b, const block *at, ck_worker *worker) {
  for (int64_t c = 0; c < p->call->channels && !ck_stopped(worker); c += p->k->vector) {
    ck_lookup sample = ck_grid_lookup(p, b, at->count, ck_min(p->k->vector, p->call->channels - c));
    set_origin(p, b, &at->from, at->image, c, &sample);
    ck_load_places(p->k, &at->out, c, sample.lanes, at->first, at->count, b->values);
    p->k->grid_slopes(&sample, p->call->axes, b->slope, b->sums);
  }
}

/* Few channels: one at a time. */
static void add_planes(const ck_grid_plan *p, const ck_grid_buffers *b, const block *at) {
  for (int64_t c = 0; c < p->call->channels; c++) {
    ck_lookup sample = ck_grid_lookup(p, b, 0, 1);
    set_origin(p, b, &at->from, at->image, c, &sample);
    for (int64_t q = 0, n; q < at->count; q += n) {
      char *g;
      n = ck_run_at(&at->out, at->first + q, at->count - q, &g);
      ck_lookup some = ck_grid_lookup_from(p, &sample, q, n);
      some.dst = g + c * at->out.lane_stride;
      some.dst_pixel = at->out.stride[2];
      p->k->grid_plane_slopes(&some, p->call->axes, b->slope + q * p->item, b->sums + q * p->item);
    }
  }
}

/* Summed lane by lane over the channels, in order, then over the lanes. */
static void grad_grid_task(ck_worker *worker, void *context, int64_t index) {
  const ck_grid_plan *p = context;
  const int64_t lanes = p->few ? 1 : p->k->vector;
  ck_arena arena = {.base = worker->scratch};
  ck_grid_buffers b = ck_grid_place(p, &arena);
  const block at = take_block(p, &b, index);
  memset(b.sums, 0, (size_t)(p->call->axes * p->ld * lanes * p->item));
  if (p->few)
    add_planes(p, &b, &at);
  else
    add_vectors(p, &b, &at, worker);
  const ck_places grid = ck_grid_coordinates(p, &p->call->grad_grid, at.image);
  for (int a = 0; a < p->call->axes; a++) {
    for (int64_t q = 0, n; q < at.count; q += n) {
      char *dst;
      n = ck_run_at(&grid, at.first + q, at.count - q, &dst);
      p->k->grid_lane_sums(b.sums + (a * p->ld + q) * lanes * p->item, lanes, n, dst + a * grid.lane_stride,
                           grid.stride[2]);
    }
  }
}

/* ---------------------------------------------------------------- gradient of x */

/* A task's share: channels, and rows of the outermost axis. */
typedef struct share {
  ck_places in, out;
  int64_t image, channel, channels, low, high, first, count; /* first, count: its pixels */
} share;

static share share_at(const ck_grid_plan *p, int64_t index) {
  const int64_t rows = p->call->in[3 - p->call->axes], band = index % p->bands, part = index / p->bands % p->parts;
  share own = {
      .image = index / p->bands / p->parts, .low = rows * band / p->bands, .high = rows * (band + 1) / p->bands};
  own.in = ck_grid_in(p, own.image);
  own.out = ck_grid_out(p, own.image);
  own.channel = p->vectors * part / p->parts * p->k->vector;
  own.channels = ck_min(p->vectors * (part + 1) / p->parts * p->k->vector, p->call->channels) - own.channel;
  own.first = own.low * (p->in.count / rows);
  own.count = own.high * (p->in.count / rows) - own.first;
  return own;
}

/* Where vector `c` of the share's channels is summed in scratch. */
static char *sums_at(const ck_grid_plan *p, const ck_grid_buffers *b, const share *own, int64_t c) {
  return b->image + c / p->k->vector * own->count * p->vector_bytes;
}

static void clear(const ck_grid_plan *p, const ck_grid_buffers *b, const share *own) {
  if (p->staged) {
    memset(b->image, 0, (size_t)(ck_ceil_div(own->channels, p->k->vector) * own->count * p->vector_bytes));
    return;
  }
  const int64_t lanes = p->adjacent ? own->channels : 1;
  for (int64_t c = 0; c < own->channels; c += lanes) {
    for (int64_t q = 0, n; q < own->count; q += n) {
      char *at;
      n = ck_run_at(&own->in, own->first + q, own->count - q, &at);
      ck_blend zeros = {.count = n,
                        .lanes = lanes,
                        .dst = at + (own->channel + c) * own->in.lane_stride,
                        .dst_pixel = own->in.stride[2],
                        .dst_lane = own->in.lane_stride};
      p->k->blend(&zeros);
    }
  }
}

/* A vector of channels of a block of positions. */
static void add_vector(const ck_grid_plan *p, const ck_grid_buffers *b, const share *own, int64_t c, int64_t first,
                       int64_t count) {
  ck_lookup sample = ck_grid_lookup(p, b, count, ck_min(p->k->vector, own->channels - c));
  ck_load_places(p->k, &own->out, own->channel + c, sample.lanes, first, count, b->values);
  if (p->staged) {
    char *sums = sums_at(p, b, own, c);
    sample.src = copy_origin(p, sums, own->first);
    sample.src_end = sums + own->count * p->vector_bytes;
    sample.src_lane = p->item;
  } else {
    sample.src = own->in.data + (own->channel + c) * own->in.lane_stride;
    sample.src_lane = own->in.lane_stride;
    sample.whole = 0;
  }
  p->k->scatter(&sample);
}

/* Few channels: straight from the gradient to x. */
static void add_lanes(const ck_grid_plan *p, const ck_grid_buffers *b, const share *own, int64_t first, int64_t count) {
  ck_lookup sample = ck_grid_lookup(p, b, 0, own->channels);
  sample.src = own->in.data;
  sample.src_lane = own->in.lane_stride;
  sample.whole = 0;
  for (int64_t q = 0, n; q < count; q += n) {
    char *g;
    n = ck_run_at(&own->out, first + q, count - q, &g);
    ck_lookup some = ck_grid_lookup_from(p, &sample, q, n);
    some.dst = g;
    some.dst_pixel = own->out.stride[2];
    some.dst_lane = own->out.lane_stride;
    p->k->scatter(&some);
  }
}

static void grad_x_task(ck_worker *worker, void *context, int64_t index) {
  const ck_grid_plan *p = context;
  const share own = share_at(p, index);
  ck_arena arena = {.base = worker->scratch};
  ck_grid_buffers b = ck_grid_place(p, &arena);
  clear(p, &b, &own);
  for (int64_t first = 0; first < p->out.count && !ck_stopped(worker); first += p->block) {
    const int64_t count = ck_min(p->block, p->out.count - first);
    const ck_grid_extent named = ck_grid_fill(p, &b, own.image, first, count, own.low, own.high);
    if (ck_grid_names_none(&named))
      continue;
    if (p->few)
      add_lanes(p, &b, &own, first, count);
    for (int64_t c = 0; c < own.channels && !p->few; c += p->k->vector)
      add_vector(p, &b, &own, c, first, count);
  }
  for (int64_t c = 0; c < own.channels && p->staged; c += p->k->vector)
    ck_store_places(p->k, &own.in, own.channel + c, ck_min(p->k->vector, own.channels - c), own.first, own.count,
                    sums_at(p, &b, &own, c));
}

/* ---------------------------------------------------------------- entry */

enum { THREAD_PRODUCTS = 1 << 16 }; /* waking a thread takes about as long */

/* The call with the threads that it is worth. */
static ck_grid_sample sized(const ck_grid_sample *call) {
  const int64_t all[] = {call->n, call->channels, call->out[0], call->out[1], call->out[2], 4 << call->sampling};
  ck_grid_sample here = *call;
  here.run.threads = ck_worth_threads(call->run.threads, all, sizeof all / sizeof *all, THREAD_PRODUCTS);
  return here;
}

ck_status ck_grid_workspace(const ck_grid_sample *call, ck_grid_op op, int64_t *bytes) {
  ck_grid_sample here = sized(call);
  *bytes = here.run.threads * ck_grid_plan_make(&here, op).bytes;
  return CK_OK;
}

ck_status ck_grid_run(const ck_grid_sample *call, ck_grid_op op) {
  static const ck_task tasks[] = {
      [CK_GRID_SAMPLE] = forward_task, [CK_GRID_GRAD_X] = grad_x_task, [CK_GRID_GRAD_GRID] = grad_grid_task};
  ck_grid_sample here = sized(call);
  ck_grid_plan p = ck_grid_plan_make(&here, op);
  return ck_parallel(call->n * p.parts * (op == CK_GRID_GRAD_X ? p.bands : p.blocks), tasks[op], &p, &here.run,
                     here.run.workspace, p.bytes);
}
