#include "weight_cut.h"

#include <string.h>

#include "base/dispatch.h"
#include "base/parallel.h"
#include "dense/dense_cost.h"

/* CHUNK_PIXELS: 448 to 784 measured alike, 224 3 % less. */
enum {
  CHUNK_PIXELS = 512,
  TILE_BYTES = 128, /* of the lanes of a register tile, and its rows, whatever the instruction set's */
  TILE_ROWS = 14,
  FEW_TILES = 32,        /* fewer register tiles in dW than this: cut the pixels */
  SEGMENT_PIXELS = 4096, /* at least, in a segment */
  MAX_SEGMENTS = 16,
  PARTIAL_BYTES = 1024 * 1024,
};

ck_weight_cut ck_weight_cut_of(const ck_conv *call, int by_lanes) {
  const ck_conv_shape *s = &call->shape;
  const int64_t vector = call->kernels->vector;
  ck_weight_cut cut = {.call = call, .k = call->kernels, .by_lanes = by_lanes, .segments = 1};
  cut.ld = by_lanes || s->c_out <= vector ? vector : 2 * vector;
  cut.outer = by_lanes ? ck_ceil_div(s->groups, vector) : s->groups;
  cut.tiles = by_lanes ? s->c_out : ck_ceil_div(s->c_out, cut.ld);
  cut.rows.channels = call->weight.data ? s->c_in : 0;
  memcpy(cut.rows.taps, s->kernel, sizeof cut.rows.taps);
  return cut;
}

ck_grid ck_weight_chunks(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  const int64_t size[4] = {s->n, s->out[0], s->out[1], s->out[2]};
  int64_t block[4];
  ck_row_block(size, CHUNK_PIXELS, 1, block);
  return ck_grid_make(size, block);
}

ck_memo_key ck_weight_key(const ck_conv *call, int transposed) {
  const ck_conv_shape *s = &call->shape;
  const int64_t words[] = {(int64_t)(uintptr_t)call->kernels,
                           s->n,
                           s->groups,
                           s->c_in,
                           s->c_out,
                           s->padding_mode,
                           call->algorithm,
                           call->activation,
                           call->run.threads,
                           call->run.limit,
                           transposed,
                           call->weight.data != NULL,
                           call->bias != NULL};
  ck_memo_key key = {0};
  ck_key_add_all(&key, words, sizeof words / sizeof *words);
  for (int i = 0; i < 3; i++) {
    const int64_t axis[] = {s->in[i], s->out[i], s->kernel[i], s->stride[i], s->dilation[i], s->pad_lo[i]};
    ck_key_add_all(&key, axis, sizeof axis / sizeof *axis);
  }
  ck_key_add_all(&key, call->x.stride, 5);
  ck_key_add_all(&key, call->y.stride, 5);
  ck_key_add(&key, ck_cost_changes);
  return key;
}

void ck_weight_cut_set(ck_weight_cut *cut, int64_t cap, int64_t tile_parts, ck_kblock *largest) {
  cut->rows = ck_reduction_make(cut->rows.channels, cut->rows.taps, cap);
  *largest = ck_reduction_largest(&cut->rows);
  cut->row_parts = ck_max(1, ck_reduction_count(&cut->rows)); /* the bias needs one even where dW is empty */
  cut->max_rows = ck_kblock_k(largest);
  cut->tile_parts = tile_parts;
  cut->part_tiles = ck_ceil_div(cut->tiles, tile_parts);
  cut->partial = (cut->max_rows + 1) * cut->ld * cut->part_tiles;
  cut->tasks = cut->segments * cut->outer * cut->row_parts * cut->tile_parts;
}

int64_t ck_weight_segments(const ck_weight_cut *cut, int64_t rows, int64_t chunks) {
  const ck_conv_shape *s = &cut->call->shape;
  const int64_t most_lanes = TILE_BYTES / (int64_t)cut->k->real_size, vector = most_lanes / 2;
  const int64_t lanes = cut->by_lanes || s->c_out <= vector ? vector : most_lanes;
  const int64_t tiles =
      cut->by_lanes ? ck_ceil_div(s->groups, vector) * s->c_out : s->groups * ck_ceil_div(s->c_out, lanes);
  const int64_t all_rows = cut->rows.channels * ck_taps_of(cut->rows.taps);
  const int64_t bytes = tiles * (all_rows + 1) * lanes * (int64_t)cut->k->real_size;
  const int64_t most = ck_min(MAX_SEGMENTS, s->n * s->out[0] * s->out[1] * s->out[2] / SEGMENT_PIXELS);
  if (bytes == 0 || bytes > PARTIAL_BYTES || tiles * ck_ceil_div(rows, TILE_ROWS) >= FEW_TILES)
    return 1;
  return ck_max(1, ck_min(most, ck_min(PARTIAL_BYTES / bytes, chunks)));
}

ck_weight_part ck_weight_part_at(const ck_weight_cut *cut, int64_t index) {
  ck_weight_part t = {0};
  int64_t part = index % cut->tile_parts;
  index /= cut->tile_parts;
  t.row_part = index % cut->row_parts;
  index /= cut->row_parts;
  t.outer = index % cut->outer;
  t.segment = index / cut->outer;
  t.tile = cut->tiles * part / cut->tile_parts;
  t.tile_end = cut->tiles * (part + 1) / cut->tile_parts;
  if (ck_reduction_count(&cut->rows) > 0)
    t.rows = ck_reduction_block(&cut->rows, t.row_part);
  t.row_count = ck_kblock_k(&t.rows);
  return t;
}

void ck_weight_lanes(const ck_weight_cut *cut, const ck_weight_part *part, int64_t tile, int64_t *first, int64_t *step,
                     int64_t *lanes) {
  const ck_conv_shape *s = &cut->call->shape;
  if (cut->by_lanes) {
    int64_t group = part->outer * cut->k->vector;
    *first = group * s->c_out + tile;
    *step = s->c_out;
    *lanes = ck_min(cut->k->vector, s->groups - group);
  } else {
    *first = part->outer * s->c_out + tile * cut->ld;
    *step = 1;
    *lanes = ck_min(cut->ld, s->c_out - tile * cut->ld);
  }
}

int64_t ck_weight_ld(const ck_weight_cut *cut, int64_t tile) {
  const int64_t left = ck_round_up(cut->call->shape.c_out - tile * cut->ld, cut->k->vector);
  return cut->by_lanes ? cut->ld : ck_min(cut->ld, left);
}

/* ---------------------------------------------------------------- sums */

int64_t ck_weight_shared(const ck_weight_cut *cut) {
  return cut->segments > 1 ? ck_round_up(cut->tasks * cut->partial * cut->k->real_size, 64) : 0;
}

int64_t ck_weight_above(const ck_weight_cut *cut, int64_t shared, const ck_run *run) {
  const int64_t part = (run->limit - shared) / run->threads;
  return ck_max(0, cut->bytes - (run->limit ? ck_min(CK_THREAD_BYTES, part) : CK_THREAD_BYTES));
}

char *ck_weight_sums(const ck_weight_cut *cut, int64_t index, char *scratch) {
  const int64_t bytes = cut->partial * cut->k->real_size;
  char *sums = cut->segments > 1 ? (char *)cut->call->run.workspace + index * bytes : scratch;
  memset(sums, 0, (size_t)bytes);
  return sums;
}

char *ck_weight_tile(const ck_weight_cut *cut, const ck_weight_part *part, char *sums, int64_t tile) {
  return sums + (tile - part->tile) * (cut->max_rows + 1) * cut->ld * cut->k->real_size;
}

/* Stores one tile: runs of taps as long as dW's strides let them be. */
void ck_weight_store(const ck_weight_cut *cut, const ck_weight_part *t, int64_t tile, const char *sums) {
  const ck_conv *call = cut->call;
  const int64_t *stride = call->weight.stride, *taps = t->rows.taps;
  int64_t first, step, lanes, item = cut->k->real_size;
  const int64_t ld = ck_weight_ld(cut, tile);
  ck_weight_lanes(cut, t, tile, &first, &step, &lanes);
  if (t->row_part == 0 && call->bias) {
    ck_drain bias = {.c = sums + cut->max_rows * ld * item,
                     .c_pixel = ld,
                     .c_lane = 1,
                     .count = 1,
                     .lanes = lanes,
                     .dst = (char *)call->bias + first * call->bias_stride,
                     .dst_pixel = item,
                     .dst_lane = step * call->bias_stride};
    cut->k->drain(&bias);
  }
  if (!t->row_count)
    return;
  int64_t size[4] = {t->rows.channels, taps[0], taps[1], taps[2]}, run = size[3], whole = 3;
  while (whole > 0 && (size[whole - 1] == 1 || stride[whole] == run * stride[4]))
    run *= size[--whole];
  ck_drain drain = {.c = sums,
                    .c_pixel = ld,
                    .c_lane = 1,
                    .count = run,
                    .lanes = lanes,
                    .dst_pixel = stride[4],
                    .dst_lane = step * stride[0]};
  char *base = (char *)call->weight.data + first * stride[0] + t->rows.channel * stride[1] +
               t->rows.tap[0] * stride[2] + t->rows.tap[1] * stride[3] + t->rows.tap[2] * stride[4];
  for (int64_t c = 0; c < (whole > 0 ? size[0] : 1); c++) {
    for (int64_t z = 0; z < (whole > 1 ? size[1] : 1); z++) {
      for (int64_t y = 0; y < (whole > 2 ? size[2] : 1); y++) {
        drain.dst = base + c * stride[1] + z * stride[2] + y * stride[3];
        cut->k->drain(&drain);
        drain.c = (const char *)drain.c + run * ld * item;
      }
    }
  }
}

static void store_tiles(const ck_weight_cut *cut, const ck_weight_part *part, char *sums) {
  for (int64_t tile = part->tile; tile < part->tile_end; tile++)
    ck_weight_store(cut, part, tile, ck_weight_tile(cut, part, sums, tile));
}

void ck_weight_end(const ck_weight_cut *cut, const ck_weight_part *part, char *sums) {
  if (cut->segments == 1)
    store_tiles(cut, part, sums);
}

/* Adds the segments of one task's tiles, first to last, and stores them. */
static void join_task(ck_worker *worker, void *context, int64_t index) {
  const ck_weight_cut *cut = context;
  const ck_weight_part part = ck_weight_part_at(cut, index);
  const int64_t tasks = cut->tasks / cut->segments, bytes = cut->partial * cut->k->real_size;
  char *total = (char *)cut->call->run.workspace + index * bytes;
  (void)worker;
  for (int64_t s = 1; s < cut->segments; s++)
    cut->k->add(total, total + s * tasks * bytes, cut->partial);
  store_tiles(cut, &part, total);
}

ck_status ck_weight_join(const ck_weight_cut *cut) {
  if (cut->segments == 1)
    return CK_OK;
  return ck_parallel(cut->tasks / cut->segments, join_task, (void *)cut, &cut->call->run, NULL, 0);
}
