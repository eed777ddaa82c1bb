#include "winograd.h"

#include "dense_drain.h"
#include "dense_run.h"
#include "multiply.h"

#include <string.h>

typedef struct ck_winograd_call {
  const ck_dense *d;
  ck_winograd_plan plan;
  char *shared;       /* [lane tile of every group][point][channel][ld] to write, or NULL */
  const char *panels; /* the same to read, or NULL */
  char *inputs;       /* [box of the round][point][tile][channel] */
  int64_t box;        /* the round's first, of those of all phases and groups */
} ck_winograd_call;

/* One task at work. The block is what the drain and the direct computation take: its correlation is the phase's. */
typedef struct task {
  const ck_winograd_call *call;
  const ck_winograd_plan *p;
  ck_dense d;
  ck_source source;
  ck_winograd_buffers b;
  char *v;    /* inputs: its own, in b, or its box's of the round */
  ck_box box; /* of tiles */
  ck_block block;
  ck_worker *worker;
  int64_t tiles, first_tile, end_tile;
} task;

/* ---------------------------------------------------------------- weights */

/* Weights are taken a unit at a time: a vector of channels, one tap of the first axis. What lies ready of them is their
 * points, or these units as they were packed, [channel][9 taps][ld]. */
static int64_t unit_channels(const ck_dense *d, int64_t channel) {
  return ck_min(d->kernels->vector, d->channels - channel);
}

static void pack_unit(const ck_dense *d, const ck_tile *t, int64_t channel, int64_t tap, char *to) {
  int64_t offsets[CK_WINOGRAD_TAPS];
  for (int i = 0; i < CK_WINOGRAD_TAPS; i++)
    offsets[i] = i / 3 * d->w_tap[1] + i % 3 * d->w_tap[2];
  ck_pack pack = {.panel = to,
                  .src = t->w + channel * d->w_channel + tap * d->w_tap[0],
                  .src_end = d->w_end,
                  .ld = t->ld,
                  .lanes = t->lanes,
                  .lane_stride = t->w_lane,
                  .nc = unit_channels(d, channel),
                  .c_stride = d->w_channel,
                  .nt = CK_WINOGRAD_TAPS,
                  .t_off = offsets};
  d->kernels->pack(&pack);
}

static void transform_unit(const ck_dense *d, const ck_tile *t, int64_t channels, int64_t point, const char *from,
                           char *to) {
  const ck_winograd_weights transform = {
      .ld = t->ld,
      .channels = channels,
      .from = from,
      .to = to,
      .to_point = point,
      .flip_y = ck_tap_offset(&d->source.axis[1], 2) < ck_tap_offset(&d->source.axis[1], 0),
      .flip_x = ck_tap_offset(&d->source.axis[2], 2) < ck_tap_offset(&d->source.axis[2], 0)};
  d->kernels->winograd_panel(&transform);
}

/* All of a lane tile's. */
static void pack_tile(const ck_dense *d, const ck_winograd_plan *p, void *scratch, int64_t index, char *panels) {
  const int64_t item = d->kernels->real_size, taps = d->source.axis[0].taps;
  ck_tile t = ck_dense_tile_at(d, &p->direct, index / p->direct.tiles, index % p->direct.tiles);
  char *to = panels + index * ck_winograd_tile_bytes(d, p);
  ck_arena arena = {.base = scratch};
  ck_winograd_buffers b;
  ck_winograd_place(d, p, &arena, &b);
  for (int64_t c = 0; c < d->channels; c += d->kernels->vector) {
    const int64_t channels = unit_channels(d, c);
    for (int64_t tap = 0; tap < taps; tap++) {
      pack_unit(d, &t, c, tap, p->shared ? b.weights : to);
      if (p->shared)
        transform_unit(d, &t, channels, p->u_point, b.weights, to);
      to += channels * (p->shared ? 1 : CK_WINOGRAD_TAPS) * t.ld * item;
    }
  }
}

void ck_winograd_pack(const ck_dense *d, const ck_winograd_plan *p, void *scratch, char *panels) {
  for (int64_t i = 0; i < p->direct.outer * p->direct.tiles; i++)
    pack_tile(d, p, scratch, i, panels);
}

static void shared_task(ck_worker *worker, void *context, int64_t index) {
  const ck_winograd_call *call = context;
  pack_tile(call->d, &call->plan, worker->scratch, index, call->shared);
}

/* What lies ready of a lane tile, from `channel` on: of the points, the first one's. */
static const char *panels_at(const task *t, const ck_tile *tile, int64_t index, int64_t channel) {
  const ck_winograd_plan *p = t->p;
  const int64_t all = t->block.outer * p->direct.tiles + index;
  return t->call->panels + all * ck_winograd_tile_bytes(&t->d, p) +
         channel * p->window.taps[0] * (p->shared ? 1 : CK_WINOGRAD_TAPS) * tile->ld * t->d.kernels->real_size;
}

/* ---------------------------------------------------------------- inputs, sums, outputs */

static ck_winograd_load load_of(task *t, char *to) {
  return (ck_winograd_load){.window = &t->b.window,
                            .transform = t->d.kernels->winograd_in,
                            .margin = CK_WINOGRAD_MARGIN,
                            .planes = t->p->window.taps[0],
                            .to = to,
                            .to_point = t->p->v_point,
                            .to_tile = t->p->v_tile};
}

static void transform_inputs(task *t, int64_t channel, int64_t channels, char *to) {
  const ck_winograd_load load = load_of(t, to);
  ck_winograd_load_tiles(&load, &t->box, t->block.outer * t->d.channels + channel, channels);
}

/* [row panel][point] where all points are multiplied side by side: from the last on, for the first lie in their place.
 */
static void set_row_panels(const task *t) {
  const int64_t panels = ck_row_panel_count(t->d.kernels, t->tiles);
  ck_row_panels_set(t->d.kernels, t->b.ro, t->tiles, 0, t->b.panels);
  if (t->p->shared)
    return;
  for (int64_t i = panels - 1; i >= 0; i--) {
    ck_row_panel *all = t->b.panels + i * CK_WINOGRAD_POINTS, first = t->b.panels[i];
    for (int e = 0; e < CK_WINOGRAD_POINTS; e++) {
      all[e] = first;
      all[e].first += e * t->p->v_point;
    }
  }
}

/* Where the tiles' inputs lie among the transformed ones, and those of (channel, tap of the first axis), a vector of
 * channels after the other. */
static void set_offsets(const task *t, int64_t channels) {
  const ck_window *w = &t->b.window;
  const int64_t plane = t->box.size[2] * t->box.size[3], tile = t->p->v_tile, vector = t->d.kernels->vector;
  int32_t *ko = t->b.ko;
  ck_winograd_tile_offsets(w, &t->box, tile, t->b.ro);
  for (int64_t c = 0; c < channels; c += vector)
    for (int64_t tap = 0; tap < t->p->window.taps[0]; tap++)
      for (int64_t j = c; j < ck_min(c + vector, channels); j++)
        *ko++ = (int32_t)(w->axis_tap[0][tap] * plane * tile + j);
  set_row_panels(t);
}

/* Of one point; what is multiplied next is at `next`. */
static void multiply(const task *t, const ck_tile *tile, int64_t point, int64_t channel, int64_t channels,
                     const char *panel, const char *next, char *sums) {
  const ck_winograd_plan *p = t->p;
  const int64_t item = t->d.kernels->real_size;
  const ck_row_product product = {.kernels = t->d.kernels,
                                  .k = channels * p->window.taps[0],
                                  .rows = t->tiles,
                                  .ld = tile->ld,
                                  .data = t->v + (point * p->v_point + (p->round ? channel : 0)) * item,
                                  .ko = t->b.ko,
                                  .steady = p->window.taps[0] == 1,
                                  .panels = t->b.panels,
                                  .panel = panel,
                                  .next = next,
                                  .chain = sums,
                                  .total = sums,
                                  .mode = channel ? CK_GO_ON : CK_STORE};
  ck_multiply_rows(&product);
}

/* Of all points: those of some units of weights, and what they are multiplied with, which then stay close. */
static void multiply_units(const task *t, const ck_tile *tile, int64_t index, int64_t channel, int64_t channels,
                           char *sums) {
  const ck_winograd_plan *p = t->p;
  const int64_t item = t->d.kernels->real_size, vector = t->d.kernels->vector, taps = p->window.taps[0];
  const int64_t row = tile->ld * item, products = channels * taps;
  const char *ready = t->call->panels ? panels_at(t, tile, index, channel) : NULL;
  ck_point_product product = {.kernels = t->d.kernels,
                              .points = CK_WINOGRAD_POINTS,
                              .rows = t->tiles,
                              .ld = tile->ld,
                              .data = t->v + (p->round ? channel : 0) * item,
                              .ko = t->b.ko,
                              .steady = taps == 1,
                              .panels = t->b.panels,
                              .panel = t->b.u,
                              .panel_apart = p->u_point,
                              .total = sums,
                              .total_apart = p->m_point,
                              .go_on = channel > 0};
  for (int64_t i = 0, done = 0; done < products; i++) {
    const int64_t c = channel + i / taps * vector, k = unit_channels(&t->d, c);
    const char *from = ready ? ready : t->b.weights;
    if (!ready)
      pack_unit(&t->d, tile, c, i % taps, t->b.weights);
    else
      ready += CK_WINOGRAD_TAPS * k * row;
    transform_unit(&t->d, tile, k, p->u_point, from, t->b.u + product.k * row);
    done += k;
    product.k += k;
    if (product.k + vector <= p->formed && done < products)
      continue;
    product.next = ready;
    product.next_bytes = CK_WINOGRAD_TAPS * product.k * row;
    ck_multiply_points(&product);
    product.ko += product.k;
    product.k = 0;
    product.go_on = 1;
  }
}

/* The outputs of tiles x..end-1 of row y of the task's tiles, counted over images and planes. */
static ck_box tiles_box(const task *t, int64_t y, int64_t x, int64_t end) {
  const int64_t *size = t->box.size, *first = t->box.first;
  ck_box box = {.first = {first[0] + y / size[2] / size[1], first[1] + y / size[2] % size[1],
                          (first[2] + y % size[2]) * CK_WINOGRAD_TILE, (first[3] + x) * CK_WINOGRAD_TILE},
                .size = {1, 1, CK_WINOGRAD_TILE, (end - x) * CK_WINOGRAD_TILE}};
  for (int i = 2; i < 4; i++)
    box.size[i] = ck_min(box.size[i], t->d.source.axis[i - 1].outputs - box.first[i]);
  return box;
}

/* Outputs of a row of tiles, or of a part of it, [vector][4 rows][column][lane of the vector], to the drain. */
static void drain(task *t, const ck_tile *tile, int64_t column) {
  const int64_t vector = t->d.kernels->vector, item = t->d.kernels->real_size, pixels = t->block.pixels;
  t->block.pixels = pixels - column; /* what is activated ends where the vector's outputs do */
  for (int64_t lane = 0; lane < tile->lanes; lane += vector) {
    ck_tile part = *tile;
    part.lanes = ck_min(vector, tile->lanes - lane);
    part.ld = vector;
    part.dst += lane * tile->dst_lane;
    part.bias = tile->bias ? tile->bias + lane * tile->bias_lane : NULL;
    ck_dense_drain(&t->block, &part, t->b.out + (lane * pixels + column * vector) * item);
  }
  t->block.pixels = pixels;
}

/* Of all vectors of lanes; whether any output is not finite. */
static int transform_sums(const task *t, const ck_tile *tile, const char *sums, int64_t column, int64_t tiles) {
  const int64_t vector = t->d.kernels->vector, item = t->d.kernels->real_size;
  ck_winograd_tiles out = {
      .tiles = tiles, .from_point = t->p->m_point, .from_tile = tile->ld, .to_row = t->block.pitch * vector};
  int nonfinite = 0;
  for (int64_t lane = 0; lane < tile->lanes; lane += vector) {
    out.from = sums + (column / CK_WINOGRAD_TILE * tile->ld + lane) * item;
    out.to = t->b.out + (lane * t->block.pixels + column * vector) * item;
    nonfinite |= t->d.kernels->winograd_out(&out);
  }
  return nonfinite;
}

/* Stores a row of tiles but for those that have to be computed again, which it marks. */
static void store_row(task *t, const ck_tile *tile, const char *sums, unsigned char *again) {
  const ck_box all = t->block.box;
  ck_box *box = &t->block.box;
  if (!transform_sums(t, tile, sums, 0, t->box.size[3])) {
    drain(t, tile, 0);
    return;
  }
  for (int64_t x = 0; x < all.size[3]; x += CK_WINOGRAD_TILE) {
    box->first[3] = all.first[3] + x;
    box->size[3] = ck_min(CK_WINOGRAD_TILE, all.size[3] - x);
    if (transform_sums(t, tile, sums, x, 1))
      again[x / CK_WINOGRAD_TILE] = 1;
    else
      drain(t, tile, x);
  }
  *box = all;
}

static void store(task *t, const ck_tile *tile, const char *sums, unsigned char *again) {
  const int64_t item = t->d.kernels->real_size, *size = t->box.size;
  t->block.pitch = size[3] * CK_WINOGRAD_TILE;
  t->block.pixels = CK_WINOGRAD_TILE * t->block.pitch;
  for (int64_t y = 0; y < size[0] * size[1] * size[2]; y++) {
    t->block.box = tiles_box(t, y, 0, size[3]);
    store_row(t, tile, sums + y * size[3] * tile->ld * item, again + y * size[3]);
  }
}

/* Runs of tiles of which an output was not finite. */
static void compute_again(task *t) {
  const int64_t *size = t->box.size;
  ck_arena arena = {.base = t->worker->scratch, .used = t->b.kept};
  const unsigned char *again = t->b.again;
  if (!memchr(again, 1, (size_t)((t->end_tile - t->first_tile) * t->tiles)))
    return;
  ck_dense_place(&t->d, &t->p->direct, &arena, &t->block.b);
  for (int64_t tile = t->first_tile; tile < t->end_tile; tile++) {
    for (int64_t y = 0; y < size[0] * size[1] * size[2]; y++, again += size[3]) {
      for (int64_t x = 0, end = 0; x < size[3] && !ck_stopped(t->worker); x = end) {
        for (end = x + 1; end < size[3] && end - x < CK_WINOGRAD_AGAIN && again[x] && again[end];)
          end++;
        if (!again[x])
          continue;
        t->block.box = tiles_box(t, y, x, end);
        t->block.settled = 0;
        ck_dense_run_block(&t->block, tile, tile + 1);
      }
    }
  }
}

/* ---------------------------------------------------------------- tasks */

/* All points of a lane tile after the other; or, where the sums of all lane tiles are kept and their weights lie ready,
 * all lane tiles of a point, whose inputs then stay close. */
static void run_chunk(task *t, int64_t channel, int64_t channels) {
  const ck_winograd_plan *p = t->p;
  const int64_t item = t->d.kernels->real_size, u = p->u_point * item, m = p->m_point * item;
  const int by_point = p->sums > 1 && p->shared, last = channel + channels == t->d.channels;
  const int64_t points = by_point ? 1 : CK_WINOGRAD_POINTS;
  const int64_t back = (t->end_tile - t->first_tile - 1) * CK_WINOGRAD_POINTS;
  for (int64_t first = 0; first < CK_WINOGRAD_POINTS; first += points) {
    for (int64_t i = t->first_tile; i < t->end_tile && !ck_stopped(t->worker); i++) {
      const ck_tile tile = ck_dense_tile_at(&t->d, &p->direct, t->block.outer, i);
      char *sums = t->b.m + (p->sums > 1 ? (i - t->first_tile) * CK_WINOGRAD_POINTS * m : 0);
      const int64_t next = !by_point ? u : i + 1 < t->end_tile ? CK_WINOGRAD_POINTS * u : u - back * u;
      if (p->shared) {
        const char *panels = panels_at(t, &tile, i, channel);
        for (int64_t e = first; e < first + points; e++)
          multiply(t, &tile, e, channel, channels, panels + e * u, panels + e * u + next, sums + e * m);
      } else {
        multiply_units(t, &tile, i, channel, channels, sums);
      }
      if (last && first + points == CK_WINOGRAD_POINTS)
        store(t, &tile, sums, t->b.again + (i - t->first_tile) * t->tiles);
    }
  }
}

/* The task of a box, of all phases and groups; whether there is anything to do. */
static int set_task(task *t, const ck_winograd_call *call, ck_worker *worker, int64_t index) {
  const ck_winograd_plan *p = &call->plan;
  const int64_t boxes = ck_grid_count(&p->grid), phases = p->phases[0] * p->phases[1];
  *t = (task){.call = call, .p = p, .worker = worker, .d = ck_winograd_phase(call->d, p, index / boxes % phases)};
  t->box = ck_grid_box(&p->grid, index % boxes);
  for (int i = 2; i < 4; i++) /* phases differ in size */
    t->box.size[i] =
        ck_min(t->box.size[i], ck_ceil_div(t->d.source.axis[i - 1].outputs, CK_WINOGRAD_TILE) - t->box.first[i]);
  if (t->box.size[2] <= 0 || t->box.size[3] <= 0)
    return 0;
  t->tiles = ck_box_count(&t->box);
  t->source = ck_winograd_source(&t->d);
  ck_arena arena = {.base = worker->scratch};
  ck_winograd_place(&t->d, p, &arena, &t->b);
  t->b.window.source = &t->source;
  t->v = p->round ? call->inputs + (index - call->box) * CK_WINOGRAD_POINTS * p->v_point * t->d.kernels->real_size
                  : t->b.v;
  t->block = (ck_block){.d = &t->d, .p = &p->direct, .worker = worker, .outer = index / boxes / phases, .phase_end = 1};
  t->block.b.bias = t->b.bias;
  return 1;
}

/* Brings in some channels of a box. */
static void bring_task(ck_worker *worker, void *context, int64_t index) {
  const ck_winograd_call *call = context;
  const int64_t parts = call->plan.input_tasks, part = index % parts, vector = call->d->kernels->vector;
  const int64_t vectors = ck_ceil_div(call->d->channels, vector), first = ck_part_start(vectors, parts, part) * vector;
  const int64_t end = ck_min(call->d->channels, ck_part_start(vectors, parts, part + 1) * vector);
  task t;
  if (set_task(&t, call, worker, call->box + index / parts))
    transform_inputs(&t, first, end - first, t.v + first * t.d.kernels->real_size);
}

static void winograd_task(ck_worker *worker, void *context, int64_t index) {
  const ck_winograd_call *call = context;
  const ck_winograd_plan *p = &call->plan;
  const int64_t part = index % p->tile_parts;
  task t;
  if (!set_task(&t, call, worker, call->box + index / p->tile_parts))
    return;
  t.first_tile = ck_part_start(p->direct.tiles, p->tile_parts, part);
  t.end_tile = ck_part_start(p->direct.tiles, p->tile_parts, part + 1);
  if (p->round) {
    const ck_winograd_load load = load_of(&t, NULL);
    ck_winograd_set_tiles(&load, &t.box);
  }
  memset(t.b.again, 0, (size_t)((t.end_tile - t.first_tile) * t.tiles));
  for (int64_t channel = 0; channel < t.d.channels; channel += p->chunk) {
    const int64_t channels = ck_min(p->chunk, t.d.channels - channel);
    if (!p->round)
      transform_inputs(&t, channel, channels, t.v);
    set_offsets(&t, channels);
    run_chunk(&t, channel, channels);
  }
  if (!ck_stopped(worker))
    compute_again(&t);
}

ck_status ck_winograd(const ck_dense *d, const ck_run *run, int64_t *bytes) {
  ck_winograd_call call = {.d = d, .plan = ck_winograd_make_plan(d, run)};
  const ck_winograd_plan *p = &call.plan;
  call.panels = ck_dense_ready(d, ck_winograd_kind(p));
  const int64_t weights = ck_round_up(p->weight_bytes, 64), shared = weights + ck_round_up(p->input_bytes, 64);
  ck_status status = CK_OK;
  if (bytes) {
    *bytes = ck_max(*bytes, shared + run->threads * p->bytes);
    return CK_OK;
  }
  if (run->workspace_bytes < shared)
    return CK_WORKSPACE;
  if (d->prepared && !call.panels)
    return CK_UNSUPPORTED;
  char *scratch = (char *)run->workspace + shared;
  call.inputs = (char *)run->workspace + weights;
  if (p->shared && !d->prepared) {
    call.panels = call.shared = run->workspace;
    status = ck_parallel(p->direct.outer * p->direct.tiles, shared_task, &call, run, scratch, p->bytes);
  }
  const int64_t round = p->round ? p->round : p->boxes;
  for (; call.box < p->boxes && status == CK_OK; call.box += round) {
    const int64_t boxes = ck_min(round, p->boxes - call.box);
    if (p->round)
      status = ck_parallel(boxes * p->input_tasks, bring_task, &call, run, scratch, p->bytes);
    if (status == CK_OK)
      status = ck_parallel(boxes * p->tile_parts, winograd_task, &call, run, scratch, p->bytes);
  }
  return status;
}
