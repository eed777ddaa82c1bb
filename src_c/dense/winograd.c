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
} ck_winograd_call;

/* One task at work. The block is what the drain and the direct computation take: its correlation is the phase's. */
typedef struct task {
  const ck_winograd_call *call;
  const ck_winograd_plan *p;
  ck_dense d;
  ck_winograd_buffers b;
  ck_box box; /* of tiles */
  ck_block block;
  ck_worker *worker;
  int64_t tiles, first_tile, end_tile;
} task;

/* ---------------------------------------------------------------- weights */

/* The 36 points of `channels` weights of a lane tile, from `channel` on. */
static void transform_weights(const ck_dense *d, const ck_tile *t, int64_t channel, int64_t channels, int64_t point,
                              char *weights, char *to) {
  const int64_t item = d->kernels->real_size;
  int64_t offsets[9];
  for (int i = 0; i < 9; i++)
    offsets[i] = i / 3 * d->w_tap[1] + i % 3 * d->w_tap[2];
  ck_pack pack = {.panel = weights,
                  .src_end = d->w_end,
                  .ld = t->ld,
                  .lanes = t->lanes,
                  .lane_stride = t->w_lane,
                  .c_stride = d->w_channel,
                  .nt = 9,
                  .t_off = offsets};
  ck_winograd_weights transform = {.ld = t->ld, .from = weights, .to = to, .to_point = point};
  transform.flip_y = ck_tap_offset(&d->source.axis[1], 2) < ck_tap_offset(&d->source.axis[1], 0);
  transform.flip_x = ck_tap_offset(&d->source.axis[2], 2) < ck_tap_offset(&d->source.axis[2], 0);
  for (int64_t c = 0; c < channels; c += pack.nc) {
    pack.nc = transform.channels = ck_min(d->kernels->vector, channels - c);
    for (int64_t tap = 0; tap < d->source.axis[0].taps; tap++) {
      pack.src = t->w + (channel + c) * d->w_channel + tap * d->w_tap[0];
      d->kernels->pack(&pack);
      d->kernels->winograd_panel(&transform);
      transform.to = (char *)transform.to + pack.nc * t->ld * item;
    }
  }
}

static void transform_tile(const ck_dense *d, const ck_winograd_plan *p, void *scratch, int64_t index, char *panels) {
  ck_arena arena = {.base = scratch};
  ck_winograd_buffers b;
  ck_winograd_place(d, p, &arena, &b);
  ck_tile t = ck_dense_tile_at(d, &p->direct, index / p->direct.tiles, index % p->direct.tiles);
  const int64_t bytes = CK_WINOGRAD_POINTS * p->u_point * d->kernels->real_size;
  transform_weights(d, &t, 0, d->channels, p->u_point, b.weights, panels + index * bytes);
}

void ck_winograd_pack(const ck_dense *d, const ck_winograd_plan *p, void *scratch, char *panels) {
  for (int64_t i = 0; i < p->direct.outer * p->direct.tiles; i++)
    transform_tile(d, p, scratch, i, panels);
}

static void shared_task(ck_worker *worker, void *context, int64_t index) {
  const ck_winograd_call *call = context;
  transform_tile(call->d, &call->plan, worker->scratch, index, call->shared);
}

/* Points of the weights of a lane tile, from `channel` on. */
static const char *panels_at(const task *t, const ck_tile *tile, int64_t index, int64_t channel, int64_t channels) {
  const ck_winograd_plan *p = t->p;
  const int64_t item = t->d.kernels->real_size;
  if (!t->call->panels) {
    transform_weights(&t->d, tile, channel, channels, p->u_point, t->b.weights, t->b.u);
    return t->b.u;
  }
  int64_t all = t->block.outer * p->direct.tiles + index;
  return t->call->panels + (all * CK_WINOGRAD_POINTS * p->u_point + channel * p->window.taps[0] * tile->ld) * item;
}

/* ---------------------------------------------------------------- inputs, sums, outputs */

static void transform_inputs(task *t, int64_t channel, int64_t channels) {
  const ck_winograd_plan *p = t->p;
  const ck_winograd_load load = {.window = &t->b.window,
                                 .transform = t->d.kernels->winograd_in,
                                 .margin = CK_WINOGRAD_MARGIN,
                                 .planes = p->window.taps[0],
                                 .to = t->b.v,
                                 .to_point = p->v_point,
                                 .to_tile = p->chunk};
  ck_winograd_load_tiles(&load, &t->box, t->block.outer * t->d.channels + channel, channels);
}

/* Where the tiles' inputs lie among the transformed ones, and those of (channel, tap of the first axis), a vector of
 * channels after the other. */
static void set_offsets(const task *t, int64_t channels) {
  const ck_window *w = &t->b.window;
  const int64_t *size = t->box.size, plane = size[2] * size[3], chunk = t->p->chunk, vector = t->d.kernels->vector;
  int32_t *ko = t->b.ko, *ro = t->b.ro;
  for (int64_t n = 0; n < size[0]; n++)
    for (int64_t z = 0; z < size[1]; z++)
      for (int64_t i = 0; i < plane; i++)
        *ro++ = (int32_t)(((n * w->extent[0] + w->axis_output[0][z]) * plane + i) * chunk);
  for (int64_t c = 0; c < channels; c += vector)
    for (int64_t tap = 0; tap < t->p->window.taps[0]; tap++)
      for (int64_t j = c; j < ck_min(c + vector, channels); j++)
        *ko++ = (int32_t)(w->axis_tap[0][tap] * plane * chunk + j);
  ck_row_panels_set(t->d.kernels, t->b.ro, t->tiles, t->b.panels);
}

/* The next point's panel: it lies apart from this one's, where the machine does not look for it. With fewer tiles than
 * these there is too little to do meanwhile. One image on a Zen 3: 512 channels on 28x28 17 % faster, 256 by 15; but
 * 256 on 14x14, of 16 tiles, 13 % slower. */
enum { FETCHING_TILES = 32 };

static void fetch(const char *panel, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(panel + i);
}

static void multiply(const task *t, const ck_tile *tile, const char *panels, int64_t channels, char *sums, int first) {
  const int64_t item = t->d.kernels->real_size;
  ck_row_product product = {.kernels = t->d.kernels,
                            .k = channels * t->p->window.taps[0],
                            .rows = t->tiles,
                            .ld = tile->ld,
                            .data = t->b.v,
                            .ko = t->b.ko,
                            .panels = t->b.panels,
                            .panel = panels,
                            .total = sums,
                            .mode = first ? CK_STORE : CK_GO_ON};
  const int fetching = t->call->panels && t->tiles >= FETCHING_TILES;
  for (int e = 0; e < CK_WINOGRAD_POINTS; e++) {
    if (fetching && e + 1 < CK_WINOGRAD_POINTS)
      fetch((const char *)product.panel + t->p->u_point * item, product.k * tile->ld * item);
    ck_multiply_rows(&product);
    product.data = (const char *)product.data + t->p->v_point * item;
    product.panel = (const char *)product.panel + t->p->u_point * item;
    product.total = (char *)product.total + t->p->m_point * item;
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

static void run_task(task *t) {
  const ck_winograd_plan *p = t->p;
  const int64_t item = t->d.kernels->real_size, all = CK_WINOGRAD_POINTS * p->m_point * item;
  const int kept = p->chunk < t->d.channels;
  for (int64_t channel = 0; channel < t->d.channels; channel += p->chunk) {
    int64_t channels = ck_min(p->chunk, t->d.channels - channel);
    int last = channel + channels == t->d.channels;
    transform_inputs(t, channel, channels);
    set_offsets(t, channels);
    for (int64_t i = t->first_tile; i < t->end_tile && !ck_stopped(t->worker); i++) {
      ck_tile tile = ck_dense_tile_at(&t->d, &p->direct, t->block.outer, i);
      char *sums = t->b.m + (kept ? (i - t->first_tile) * all : 0);
      multiply(t, &tile, panels_at(t, &tile, i, channel, channels), channels, sums, channel == 0);
      if (last)
        store(t, &tile, sums, t->b.again + (i - t->first_tile) * t->tiles);
    }
  }
  if (!ck_stopped(t->worker))
    compute_again(t);
}

static void winograd_task(ck_worker *worker, void *context, int64_t index) {
  const ck_winograd_call *call = context;
  const ck_winograd_plan *p = &call->plan;
  const int64_t blocks = ck_grid_count(&p->grid), phases = p->phases[0] * p->phases[1];
  const int64_t part = index % p->tile_parts, here = index / p->tile_parts;
  task t = {.call = call, .p = p, .worker = worker, .d = ck_winograd_phase(call->d, p, here / blocks % phases)};
  t.box = ck_grid_box(&p->grid, here % blocks);
  for (int i = 2; i < 4; i++) /* phases differ in size */
    t.box.size[i] =
        ck_min(t.box.size[i], ck_ceil_div(t.d.source.axis[i - 1].outputs, CK_WINOGRAD_TILE) - t.box.first[i]);
  if (t.box.size[2] <= 0 || t.box.size[3] <= 0)
    return;
  t.tiles = ck_box_count(&t.box);
  t.first_tile = p->direct.tiles * part / p->tile_parts;
  t.end_tile = p->direct.tiles * (part + 1) / p->tile_parts;
  const ck_source source = ck_winograd_source(&t.d);
  ck_arena arena = {.base = worker->scratch};
  ck_winograd_place(&t.d, p, &arena, &t.b);
  t.b.window.source = &source;
  memset(t.b.again, 0, (size_t)((t.end_tile - t.first_tile) * t.tiles));
  t.block = (ck_block){.d = &t.d, .p = &p->direct, .worker = worker, .outer = here / blocks / phases, .phase_end = 1};
  t.block.b.bias = t.b.bias;
  run_task(&t);
}

ck_status ck_winograd(const ck_dense *d, const ck_run *run, int64_t *bytes) {
  ck_winograd_call call = {.d = d, .plan = ck_winograd_make_plan(d, run), .panels = d->panels.data};
  const ck_winograd_plan *p = &call.plan;
  const int64_t shared = ck_round_up(p->shared_bytes, 64);
  ck_status status = CK_OK;
  if (bytes) {
    *bytes = ck_max(*bytes, shared + run->threads * p->bytes);
    return CK_OK;
  }
  char *scratch = (char *)run->workspace + shared;
  if (p->shared && !d->prepared) {
    call.panels = call.shared = run->workspace;
    status = run->workspace_bytes < shared
                 ? CK_WORKSPACE
                 : ck_parallel(p->direct.outer * p->direct.tiles, shared_task, &call, run, scratch, p->bytes);
  }
  return status == CK_OK ? ck_parallel(p->tasks, winograd_task, &call, run, scratch, p->bytes) : status;
}
