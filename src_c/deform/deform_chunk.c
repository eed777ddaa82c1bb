#include "deform_chunk.h"

#include "base/parallel.h"
#include "conv/weight_pixels.h"
#include "dense/dense.h"
#include "dense/multiply.h"

enum {                             /* set by hand, but for RUN_PIXELS */
       SHARED_BYTES = 2560 * 1024, /* what the threads share of a chunk */
       PANEL_BYTES = 288 * 1024,   /* of weights, a thread: with what they are multiplied by they stay in level 2 */
       FEWEST_OUTPUTS = 64,        /* in a panel of the weight's gradient: each samples anew */
       RUN_PIXELS = 256,           /* their samples, 32 channels of them, stay in level 1 */
       MOST_PARTS = 16,            /* of the lane tiles of all offset groups */
};

static int64_t lanes_of(const ck_chunk *c) { return c->sampler.vectors * c->k->vector; }

/* Lanes of a tile of output channels in g. */
static int64_t g_lanes(const ck_chunk *c) { return 2 * c->k->vector; }

static int64_t g_tiles(const ck_chunk *c) {
  return ck_ceil_div(c->call->conv.shape.groups * c->call->conv.shape.c_out, g_lanes(c));
}

/* ---------------------------------------------------------------- scratch */

void ck_chunk_place(const ck_chunk *c, ck_arena *arena, ck_chunk_buffers *b) {
  const int64_t item = c->k->real_size, i32 = sizeof(int32_t), image = ck_sampler_image_bytes(&c->sampler);
  int64_t panel = ck_max(c->weight_taps * c->weight_outputs, c->back_taps * c->back_outputs);
  int64_t slopes = (c->call->nd + 1) * c->pixels; /* when sums are joined */
  b->image = ck_take(arena, image);
  b->dx = ck_take(arena, image);
  b->columns = ck_take(arena, ck_max(c->run * lanes_of(c), slopes) * item);
  b->panel = ck_take(arena, panel * lanes_of(c) * item);
  b->act = ck_take(arena, c->call->conv.activation ? c->pixels * g_lanes(c) * item : 0);
  b->offset = ck_take(arena, ck_max(c->tap_count, c->pixels) * (int64_t)sizeof(int64_t));
  b->output = ck_take(arena, c->call->conv.shape.c_out * i32);
  b->pixel = ck_take(arena, c->pixels * i32);
  b->row = ck_take(arena, panel * i32);
  int64_t rows = ck_row_panel_count(c->k, ck_max(c->run, c->call->conv.shape.c_out));
  b->rows = ck_take(arena, rows * (int64_t)sizeof(ck_row_panel));
}

static void place_shared(ck_chunk *c, ck_arena *arena) {
  int64_t groups = c->call->offset_groups, parts = groups * ck_max(1, c->group_parts);
  c->samples = ck_take(arena, groups * (int64_t)sizeof *c->samples);
  ck_samples counted;
  for (int64_t i = 0; i < groups; i++)
    ck_samples_place(arena->base ? &c->samples[i] : &counted, &c->sampler, c->pixels, c->tap_count, arena);
  c->g = ck_take(arena, g_tiles(c) * c->pixels * g_lanes(c) * c->k->real_size);
  c->sums = ck_take(arena, parts * c->sums_bytes);
}

/* ---------------------------------------------------------------- plan */

static void set_box(ck_chunk *c, int64_t target) {
  const ck_conv_shape *s = &c->call->conv.shape;
  int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]}, block[4];
  ck_square_block(size, target, 2, block);
  c->grid = ck_grid_make(size, block);
  c->pixels = 1;
  for (int d = 0; d < 4; d++)
    c->pixels *= ck_grid_largest(&c->grid, d);
  c->run = ck_ceil_div(c->pixels, ck_max(1, ck_ceil_div(c->pixels, RUN_PIXELS)));
  c->sums_bytes = ck_round_up(((c->tap_count * c->pixels) << c->call->nd) * c->k->real_size, 64);
  ck_arena shared = {0}, thread = {0};
  ck_chunk_buffers b;
  place_shared(c, &shared);
  ck_chunk_place(c, &thread, &b);
  c->shared = shared.used;
  c->bytes = thread.used;
}

/* Panels of weights, or of their gradient: all taps or all output channels, if they fit. */
static void set_panels(ck_chunk *c) {
  int64_t c_out = ck_max(1, c->call->conv.shape.c_out), room = PANEL_BYTES / (lanes_of(c) * c->k->real_size);
  c->back_outputs = ck_min(c_out, room);
  c->back_taps = ck_max(1, ck_min(c->tap_count, room / c->back_outputs));
  c->weight_parts = ck_ceil_div(c_out, ck_max(FEWEST_OUTPUTS, room / c->tap_count));
  c->weight_outputs = ck_ceil_div(c_out, c->weight_parts);
  c->weight_taps = ck_max(1, ck_min(c->tap_count, room / c->weight_outputs));
}

ck_chunk ck_chunk_make(const ck_deform *call) {
  static const int64_t targets[] = {784, 560, 392, 280, 196, 140, 98, 56, 28, 14, 7, 4, 2, 1};
  const ck_conv_shape *s = &call->conv.shape;
  ck_chunk c = {.call = call, .k = call->conv.kernels};
  int64_t vector = c.k->vector;
  c.sampler = ck_sampler_make(c.k, call);
  c.taps = ck_reduction_make(1, s->kernel, ck_kblock_cap(c.k) / vector * 8); /* 288 taps of 16 channels in float32 */
  ck_kblock largest = ck_reduction_largest(&c.taps);
  c.tap_count = ck_max(1, ck_taps_of(largest.taps));
  int64_t per_unit = ck_ceil_div(c.sampler.channels, lanes_of(&c));
  c.group_tiles = s->groups * s->c_in / call->offset_groups / ck_max(1, c.sampler.channels) * per_unit;
  c.group_parts = ck_min(c.group_tiles, ck_max(1, MOST_PARTS / call->offset_groups));
  set_panels(&c);
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    set_box(&c, targets[i]);
    if (c.shared <= SHARED_BYTES)
      break;
  }
  return c;
}

/* ---------------------------------------------------------------- load */

void ck_chunk_share(ck_chunk *c) {
  ck_arena arena = {.base = c->call->conv.run.workspace};
  place_shared(c, &arena);
}

/* One tile of the gradient's channels, times the activation's derivative. */
static void load_gradient(const ck_chunk *c, ck_chunk_buffers *b, int64_t tile) {
  const ck_conv *conv = &c->call->conv;
  int64_t all = conv->shape.groups * conv->shape.c_out, pixels = ck_box_count(&c->box), ld = g_lanes(c);
  int64_t first = tile * ld, lanes = ck_min(ld, all - first);
  char *panel = c->g + tile * pixels * ld * c->k->real_size;
  for (int64_t x = 0; x < c->box.size[3]; x++)
    b->offset[x] = x * conv->y.stride[4];
  ck_weight_pack_pixels(conv, &conv->y, &c->box, first, 1, lanes, ld, b->offset, panel);
  if (!conv->activation)
    return;
  for (int64_t x = 0; x < c->box.size[3]; x++)
    b->offset[x] = x * conv->act_y.stride[4];
  ck_weight_pack_pixels(conv, &conv->act_y, &c->box, first, 1, lanes, ld, b->offset, b->act);
  c->k->activation_gradient(panel, panel, b->act, pixels * ld, conv->activation, conv->act_a, conv->act_b);
}

static void load_task(ck_worker *worker, void *context, int64_t index) {
  const ck_chunk *c = context;
  ck_arena arena = {.base = worker->scratch};
  ck_chunk_buffers b;
  ck_chunk_place(c, &arena, &b);
  if (index < c->call->offset_groups)
    ck_samples_locate(&c->samples[index], &c->box, &c->kblock, index);
  else
    load_gradient(c, &b, index - c->call->offset_groups);
}

ck_status ck_chunk_load(ck_chunk *c, const ck_box *box, const ck_kblock *kblock) {
  const ck_run *run = &c->call->conv.run;
  c->box = *box;
  c->kblock = *kblock;
  return ck_parallel(c->call->offset_groups + g_tiles(c), load_task, c, run, (char *)run->workspace + c->shared,
                     c->bytes);
}

/* ---------------------------------------------------------------- tiles */

void ck_chunk_part(const ck_chunk *c, int64_t part, int64_t *group, int64_t *first, int64_t *end) {
  int64_t i = part % c->group_parts;
  *group = part / c->group_parts;
  *first = c->group_tiles * i / c->group_parts;
  *end = c->group_tiles * (i + 1) / c->group_parts;
}

ck_chunk_tile ck_chunk_tile_at(const ck_chunk *c, ck_chunk_buffers *b, int64_t group, int64_t tile) {
  const ck_conv_shape *s = &c->call->conv.shape;
  int64_t all = s->groups * s->c_in, per_unit = ck_ceil_div(c->sampler.channels, lanes_of(c));
  int64_t pixels = ck_box_count(&c->box), ld = g_lanes(c);
  ck_chunk_tile t = {.samples = &c->samples[group]};
  t.channel =
      all / c->call->offset_groups * group + tile / per_unit * c->sampler.channels + tile % per_unit * lanes_of(c);
  t.lanes = ck_sampler_lanes(&c->sampler, t.channel, all);
  t.vectors = ck_ceil_div(t.lanes, c->k->vector);
  t.weight_group = t.channel / s->c_in;
  for (int64_t o = 0; o < s->c_out; o++) {
    int64_t at = t.weight_group * s->c_out + o;
    b->output[o] = (int32_t)(at / ld * pixels * ld + at % ld);
  }
  for (int64_t x = 0; x < pixels; x++)
    b->pixel[x] = (int32_t)(x * ld);
  return t;
}

void ck_chunk_tap_offsets(const ck_chunk *c, const int64_t stride[3], int64_t first, int64_t count, int64_t *offset) {
  const int64_t *tap = c->kblock.tap, *taps = c->kblock.taps;
  for (int64_t t = first; t < first + count; t++) {
    int64_t z = tap[0] + t / (taps[1] * taps[2]), y = tap[1] + t / taps[2] % taps[1], x = tap[2] + t % taps[2];
    *offset++ = z * stride[0] + y * stride[1] + x * stride[2];
  }
}
