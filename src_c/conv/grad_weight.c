/* The gradient of weight and bias: dW[lane][c][t] = sum over pixels of g[lane][pixel] * x[c][pixel * stride + t].
 *
 * The rows of the micro-kernel are (channel, tap) pairs of the staged window of x, its k are pixels, its lanes the
 * output channels of the gradient, transposed chunk by chunk. Where the estimate says so, tap by tap: where output
 * channels are a vector or less, they are the rows, and the lanes channels of x; where much is padding, each tap takes
 * the pixels alone that it reads any image for. The chains are the same. */
#include "grad_weight.h"

#include <string.h>

#include "base/memo.h"
#include "base/parallel.h"
#include "conv_dense.h"
#include "dense/dense_cost.h"
#include "dense/dense_plan.h"
#include "dense/multiply.h"
#include "weight_cut.h"
#include "weight_lines.h"
#include "weight_pixels.h"
#include "weight_winograd.h"

/* RUN_PIXELS: of a chunk's, those that are worked off for all taps where channels are lanes; 48 to 96 measured alike.
 * PICK_CYCLES: to list a pixel. */
enum { RUN_PIXELS = 64, PICK_CYCLES = 3 };

/* Where more of the products read no padding, ways to pick pixels are not tried: that would double the planning. */
static const double WORTH_PICKING = 0.95;

/* What a register tile is of: rows of dW by output channels; channels of a tap by output channels, over pixels that are
 * picked; output channels by channels of x. */
typedef enum gw_way { ALL_ROWS, PICKED, SWAPPED } gw_way;

typedef struct gw_plan {
  ck_weight_cut cut;
  ck_source source;
  int transposed; /* then x is the gradient, with the activation, and y the input */
  gw_way way;
  ck_grid chunks;
  ck_window_size window;
  int64_t pixels; /* of the largest chunk */
  double inside;  /* the share of all products that read no padding */
} gw_plan;

typedef struct gw_buffers {
  ck_window window;
  char *acc, *chain, *g, *y;         /* g, y: the chunk's pixels of the gradient, and of the activation's output */
  int32_t *output, *tap;             /* where pixels and rows lie in the window */
  int32_t *ko, *po, *channel;        /* of picked pixels, in the window and in the panel; and of channels */
  ck_row_panel *panels, *few_panels; /* of all rows, and of some */
  int64_t *act_off, *y_off;
} gw_buffers;

/* Whether what the lanes hold is to be multiplied by an activation's derivative. */
static int has_activation(const gw_plan *p) { return p->cut.call->activation && !p->transposed; }

static void place(const gw_plan *p, ck_arena *arena, gw_buffers *b) {
  const ck_weight_cut *cut = &p->cut;
  const int64_t item = cut->k->real_size, panels = ck_row_panel_count(cut->k, cut->max_rows);
  const int64_t listed = p->way == PICKED ? p->pixels : 0, index = sizeof(int32_t);
  const int64_t more =
      p->way == SWAPPED ? ck_taps_of(p->window.taps) * (cut->k->vector - 1) : 0; /* lanes of whole vectors */
  ck_window_place(&b->window, cut->k, &p->source, &p->window, arena);
  b->acc = ck_take(arena, cut->partial * item);
  b->chain = ck_take(arena, (cut->max_rows + more) * cut->ld * item);
  b->g = ck_take(arena, p->pixels * cut->ld * item);
  b->y = ck_take(arena, has_activation(p) ? p->pixels * cut->ld * item : 0);
  b->output = ck_take(arena, p->pixels * index);
  b->tap = ck_take(arena, cut->max_rows * index);
  b->ko = ck_take(arena, listed * index);
  b->po = ck_take(arena, listed * index);
  b->channel = ck_take(arena, p->way == PICKED ? p->window.channels * index : 0);
  b->panels = ck_take(arena, panels * (int64_t)sizeof(ck_row_panel));
  b->few_panels = ck_take(arena, panels * (int64_t)sizeof(ck_row_panel));
  b->act_off = ck_take(arena, p->window.outputs[3] * (int64_t)sizeof(int64_t));
  b->y_off = ck_take(arena, p->window.outputs[3] * (int64_t)sizeof(int64_t));
}

/* ---------------------------------------------------------------- plan */

static void set_rows(gw_plan *p, int64_t cap, int64_t tile_parts) {
  ck_kblock largest;
  ck_weight_cut_set(&p->cut, cap, tile_parts, &largest);
  p->window.channels = largest.channels;
  memcpy(p->window.taps, largest.taps, sizeof largest.taps);
  gw_buffers b;
  ck_arena count = {0};
  place(p, &count, &b);
  p->cut.bytes = count.used;
}

/* Whether the window holds the coordinates of the innermost axis one after the other. */
static int is_hull(const gw_plan *p) {
  const ck_axis *a = &p->source.axis[2];
  return ck_axis_step(a, p->window.outputs[3], p->window.taps[2]) == a->step;
}

/* With lanes of channels: tiles over all pixels for each tap, or for a row of them, then their sums, chunk by chunk. */
static double swapped_cycles(const gw_plan *p, double pixels) {
  const ck_kernels *k = p->cut.k;
  const int64_t most = k->lane_vectors[ck_min(p->cut.call->shape.c_out, k->max_height)];
  const double lanes = (double)p->cut.call->shape.c_out, taps = (double)ck_taps_of(p->window.taps);
  int64_t vectors = ck_ceil_div(p->window.channels, k->vector);
  const int64_t row = vectors <= most && p->source.axis[2].tap_step == 1 && is_hull(p) ? p->window.taps[2] : 1;
  vectors *= row;
  const double strips = (double)ck_ceil_div(vectors, most);
  /* For two pipes, as task_cycles has the other way. */
  const double each = ck_rows_cycles(k, lanes, (double)vectors / strips, pixels, 1) * ck_fma_per_cycle(k) / 2;
  const double sums = ck_cost.drain_apart * lanes * (double)p->window.channels * pixels / (double)ck_max(1, p->pixels);
  return ck_cost.weight_swapped * taps * (strips * each / (double)row + sums);
}

static double share_inside(const gw_plan *p) {
  double share = 1;
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &p->source.axis[i];
    double inside = 0;
    for (int64_t t = 0; t < a->taps; t++) {
      int64_t first, end;
      ck_axis_reach(a, t, 0, a->outputs, &first, &end);
      inside += (double)(end - first);
    }
    share *= inside / ((double)ck_max(1, a->taps) * (double)ck_max(1, a->outputs));
  }
  return share;
}

/* Tap by tap: their pixels are listed, and their sums added, chunk by chunk. */
static double picked_cycles(const gw_plan *p, double pixels) {
  const double taps = (double)ck_taps_of(p->window.taps), channels = (double)p->window.channels;
  const double panels = (double)ck_ceil_div(p->window.channels, p->cut.k->max_height);
  const double sums = ck_cost.weight_sums * channels * pixels / (double)ck_max(1, p->pixels);
  return ck_cost.weight_picked * taps * (p->inside * pixels * (channels + panels + PICK_CYCLES) + sums);
}

/* Of an element of the window: planes are transposed for lanes of channels or, with holes between, read one by one. */
static double stage_cycles(const gw_plan *p) {
  if (p->way != SWAPPED || p->source.tensor.stride[1] == p->cut.k->real_size)
    return ck_cost.weight_stage;
  return is_hull(p) ? 2 * ck_cost.weight_stage : ck_cost.drain_apart;
}

/* Of one task, a cycle a row, pixel and tile. */
static double task_cycles(const gw_plan *p) {
  const ck_weight_cut *cut = &p->cut;
  double pixels = (double)p->chunks.size[0] * (double)p->chunks.size[1] * (double)p->chunks.size[2] *
                  (double)p->chunks.size[3] / (double)cut->segments;
  double tiles = (double)cut->part_tiles, panels = (double)ck_ceil_div(cut->max_rows, cut->k->max_height);
  double window = (double)ck_window_elements(cut->k, &p->source, &p->window);
  const double multiply = p->way == SWAPPED  ? swapped_cycles(p, pixels)
                          : p->way == PICKED ? tiles * picked_cycles(p, pixels)
                                             : pixels * tiles * ((double)cut->max_rows + panels);
  return multiply + pixels * tiles * ck_cost.weight_pixel +
         stage_cycles(p) * window * pixels / (double)ck_max(1, p->pixels) +
         ck_cost.weight_sums * (double)cut->max_rows * tiles + ck_cost.task;
}

static void set_source(gw_plan *p) {
  p->source = ck_conv_x_source(p->cut.call, p->transposed, p->cut.by_lanes);
  if (p->way == SWAPPED)
    p->source.order = CK_VECTORS;
}

/* The cheapest cut in so many rows and tiles, if it takes less than `best`; returns what it takes. */
static double choose_tile(gw_plan *p, double best, gw_way way, const ck_run *run) {
  gw_plan trial = *p;
  trial.way = way;
  set_source(&trial);
  const ck_reduction *rows = &p->cut.rows;
  int64_t all = ck_max(1, rows->channels * ck_taps_of(rows->taps)), tiles = p->cut.tiles;
  for (int64_t cut = 1; cut <= all && (best < 0 || cut == 1 || cut * p->cut.k->max_height <= all);
       cut = cut < 4 ? cut + 1 : cut + cut / 2) {
    for (int64_t parts = 1; parts > 0; parts = ck_next_parts(parts, tiles)) {
      set_rows(&trial, ck_ceil_div(all, cut), parts);
      if (ck_weight_above(&trial.cut, ck_weight_shared(&trial.cut), run) && (cut < all || way != ALL_ROWS))
        continue;
      double time = (double)ck_ceil_div(trial.cut.tasks, run->threads) * task_cycles(&trial);
      if (best < 0 || time < best) {
        best = time;
        *p = trial;
      }
    }
  }
  if (best < 0)
    set_rows(p, 1, ck_max(1, tiles));
  return best;
}

/* Whether the outputs are a vector or less, and channels can be lanes: neighbours, or planes to transpose. */
static int can_swap(const gw_plan *p) {
  const ck_weight_cut *cut = &p->cut;
  const int few = !cut->by_lanes && cut->ld == cut->k->vector && cut->tiles > 0 && cut->rows.channels > 1;
  return few && (p->source.order == CK_INTERLEAVED || p->source.order == CK_PLANES);
}

/* The best with lanes of groups, or without; so many segments, or 0: its own. What it takes. */
static double plan_lanes(gw_plan *p, const ck_conv *call, int by_lanes, int64_t segments) {
  const ck_conv_shape *s = &call->shape;
  p->cut = ck_weight_cut_of(call, by_lanes);
  set_source(p);
  p->chunks = ck_weight_chunks(call);
  p->pixels = 1;
  for (int d = 0; d < 4; d++)
    p->pixels *= p->window.outputs[d] = ck_grid_largest(&p->chunks, d);
  p->inside = share_inside(p);
  const int64_t rows = p->cut.rows.channels * ck_taps_of(s->kernel);
  p->cut.segments = segments ? segments : ck_weight_segments(&p->cut, rows, ck_grid_count(&p->chunks));
  double best = choose_tile(p, -1, ALL_ROWS, &call->run);
  if (best >= 0 && !by_lanes && p->inside < WORTH_PICKING)
    best = choose_tile(p, best, PICKED, &call->run);
  return best >= 0 && can_swap(p) ? choose_tile(p, best, SWAPPED, &call->run) : best;
}

/* Narrow groups may be lanes; of few of them most lanes would be empty. Which segments there are decides bits, and so
 * does not follow from that. */
static gw_plan fresh_plan(const ck_conv *call, int transposed) {
  const int direct = ck_conv_is_direct(call);
  gw_plan p = {.transposed = transposed}, apart = p;
  const double best = plan_lanes(&p, call, direct, 0);
  if (!direct || best < 0)
    return p;
  const double other = plan_lanes(&apart, call, 0, p.cut.segments);
  return other >= 0 && other < best ? apart : p;
}

static gw_plan make_plan(const ck_conv *call, int transposed) {
  ck_memo_key key = ck_weight_key(call, transposed);
  ck_key_add(&key, -1); /* no other plan's */
  gw_plan p;
  if (!ck_memo_find(&key, &p, sizeof p)) {
    p = fresh_plan(call, transposed);
    ck_memo_keep(&key, &p, sizeof p);
  }
  p.cut.call = call;
  set_source(&p);
  return p;
}

_Static_assert(sizeof(gw_plan) <= CK_MEMO_BYTES, "a plan must fit its place");

/* ---------------------------------------------------------------- run */

typedef struct gw_task {
  const gw_plan *p;
  const ck_weight_cut *cut;
  gw_buffers b;
  int steady; /* whether the chunk's pixels lie at a constant step */
  ck_weight_part part;
} gw_task;

static void sum_gradient(const gw_task *t, const ck_box *box, int64_t tile, char *sums) {
  int64_t first, step, lanes;
  ck_weight_lanes(t->cut, &t->part, tile, &first, &step, &lanes);
  ck_weight_sum_pixels(t->cut->call, box, first, step, lanes, ck_weight_ld(t->cut, tile), t->b.y_off, sums);
}

static int pack_gradient(const gw_task *t, const ck_box *box, int64_t tile, char *panel) {
  const ck_conv *call = t->cut->call;
  const ck_kernels *k = t->cut->k;
  const int64_t ld = ck_weight_ld(t->cut, tile);
  int64_t first, step, lanes;
  ck_weight_lanes(t->cut, &t->part, tile, &first, &step, &lanes);
  const int nonfinite = ck_weight_pack_pixels(call, &call->y, box, first, step, lanes, ld, t->b.y_off, panel);
  if (!has_activation(t->p))
    return nonfinite;
  const int64_t pixels = ck_box_count(box), none = 0;
  ck_weight_pack_pixels(call, &call->act_y, box, first, step, lanes, ld, t->b.act_off, t->b.y);
  k->activation_gradient(panel, panel, t->b.y, pixels * ld, call->activation, call->act_a, call->act_b);
  const ck_pack same = {.panel = panel, /* for what it returns: a slope may have made something infinite, or nothing */
                        .src = panel,
                        .src_end = panel,
                        .ld = ld,
                        .lanes = ld,
                        .lane_stride = k->real_size,
                        .nc = pixels,
                        .c_stride = ld * k->real_size,
                        .nt = 1,
                        .t_off = &none};
  return k->pack(&same);
}

/* Rows first..first+rows-1 of dW's block, of `ld` lanes, over pixels pixel..pixel+k-1 of the chunk. */
static void multiply_rows(const gw_task *t, int64_t ld, int64_t first, int64_t rows, int64_t pixel, int64_t k,
                          char *total, ck_chain mode) {
  const ck_weight_cut *cut = t->cut;
  const int64_t row = ld * cut->k->real_size;
  ck_row_panel *panels = first == 0 && rows == t->part.row_count ? t->b.panels : t->b.few_panels;
  if (panels == t->b.few_panels)
    ck_row_panels_set(cut->k, t->b.tap + first, rows, 0, panels);
  ck_row_product product = {.kernels = cut->k,
                            .by_group = cut->by_lanes,
                            .k = k,
                            .rows = rows,
                            .ld = ld,
                            .data = t->b.window.data,
                            .ko = t->b.output + pixel,
                            .steady = t->steady,
                            .panels = panels,
                            .panel = t->b.g + pixel * row,
                            .chain = mode == CK_GO_ON ? NULL : t->b.chain,
                            .total = total + first * row,
                            .mode = mode};
  ck_multiply_rows(&product);
}

/* Sums of outputs from `output` on and channels from `channel` on, as the product has them for each of `beside` taps:
 * run after run of pixels, whose part of the window stays in level 1 for all taps, the chains going on; then transposed
 * to where they are added. */
static void multiply_channels(const gw_task *t, ck_lane_product *product, int64_t output, int64_t channel,
                              int64_t beside, int64_t pixels, char *acc) {
  const int64_t item = t->cut->k->real_size, row = t->cut->ld * item, taps = ck_taps_of(t->part.rows.taps);
  const int64_t runs = ck_ceil_div(pixels, RUN_PIXELS), lanes = product->lanes, width = product->ldc;
  const int64_t sums = product->height * width * beside * item;
  product->lanes += (beside - 1) * width;
  product->ldc *= beside;
  for (int64_t i = 0; i < runs; i++) {
    const int64_t first = ck_part_start(pixels, runs, i);
    product->k = ck_part_start(pixels, runs, i + 1) - first;
    product->ko = t->b.output + first;
    product->panel = t->b.g + first * row + output * item;
    product->mode = i ? CK_GO_ON : CK_STORE;
    for (int64_t tap = 0; tap < taps; tap += beside) {
      product->data = (char *)t->b.window.data + (t->b.tap[tap] + channel) * item;
      product->total = t->b.chain + tap / beside * sums;
      ck_multiply_lanes(product);
    }
  }
  for (int64_t tap = 0; tap < taps; tap++) {
    const ck_drain drain = {.c = t->b.chain + tap / beside * sums + tap % beside * width * item,
                            .c_pixel = 1,
                            .c_lane = product->ldc,
                            .dst = acc + (channel * taps + tap) * row + output * item,
                            .count = lanes,
                            .lanes = product->height,
                            .dst_pixel = taps * row,
                            .dst_lane = item,
                            .add = 1};
    t->cut->k->drain(&drain);
  }
}

/* Taps whose channels lie one after the other in the window: those of a row, or one. */
static int64_t taps_beside(const gw_task *t) {
  const int64_t across = t->part.rows.taps[2];
  for (int64_t x = 1; x < across; x++)
    if (t->b.tap[x] - t->b.tap[x - 1] != t->b.window.unit)
      return 1;
  return across;
}

/* All rows of dW's block, in register tiles of outputs by channels; by channels and taps, where one holds all channels:
 * of one output and a vector of channels every product would wait for the one before. */
static void multiply_swapped(const gw_task *t, int64_t pixels, char *acc) {
  const ck_kernels *k = t->cut->k;
  const int64_t outputs = t->cut->call->shape.c_out, channels = t->part.rows.channels;
  const int64_t heights = ck_ceil_div(outputs, k->max_height), vectors = ck_ceil_div(channels, k->vector);
  for (int64_t h = 0; h < heights; h++) {
    const int64_t output = ck_part_start(outputs, heights, h);
    ck_lane_product product = {
        .kernels = k, .height = ck_part_start(outputs, heights, h + 1) - output, .steady = t->steady};
    const int64_t strips = ck_ceil_div(vectors, k->lane_vectors[product.height]);
    for (int64_t i = 0; i < strips; i++) {
      const int64_t first = ck_part_start(vectors, strips, i), end = ck_part_start(vectors, strips, i + 1);
      product.lanes = ck_min(channels, end * k->vector) - first * k->vector;
      product.ldc = (end - first) * k->vector;
      multiply_channels(t, &product, output, first * k->vector, strips == 1 ? taps_beside(t) : 1, pixels, acc);
    }
  }
}

/* The chunk's pixels, in order, that read inside the image for a tap: how many. */
static int64_t pick_pixels(const gw_task *t, const ck_box *box, const int64_t tap[3], int64_t ld) {
  int64_t first[3], end[3], count = 0;
  for (int i = 0; i < 3; i++) {
    const int64_t from = box->first[i + 1];
    ck_axis_reach(&t->p->source.axis[i], t->part.rows.tap[i] + tap[i], from, box->size[i + 1], &first[i], &end[i]);
    first[i] -= from;
    end[i] -= from;
  }
  for (int64_t n = 0; n < box->size[0]; n++) {
    for (int64_t z = first[0]; z < end[0]; z++) {
      for (int64_t y = first[1]; y < end[1]; y++) {
        const int64_t line = ((n * box->size[1] + z) * box->size[2] + y) * box->size[3];
        for (int64_t x = line + first[2]; x < line + end[2]; x++, count++) {
          t->b.ko[count] = t->b.output[x];
          t->b.po[count] = (int32_t)(x * ld);
        }
      }
    }
  }
  return count;
}

/* All rows of dW's block, tap by tap, each over the pixels that read no padding for it. */
static void multiply_picked(const gw_task *t, int64_t ld, const ck_box *box, char *acc) {
  const ck_weight_cut *cut = t->cut;
  const int64_t *taps = t->part.rows.taps, item = cut->k->real_size, row = ld * item, all = ck_taps_of(taps);
  ck_row_product product = {.kernels = cut->k,
                            .rows = t->part.rows.channels,
                            .ld = ld,
                            .ko = t->b.ko,
                            .po = t->b.po,
                            .panels = t->b.few_panels,
                            .panel = t->b.g,
                            .chain = t->b.chain,
                            .total = t->b.chain};
  ck_drain drain = {.c = t->b.chain,
                    .c_pixel = ld,
                    .c_lane = 1,
                    .count = product.rows,
                    .lanes = ld,
                    .dst_pixel = all * row,
                    .dst_lane = item,
                    .add = 1};
  for (int64_t c = 0; c < product.rows; c++)
    t->b.channel[c] = t->b.tap[c * all] - t->b.tap[0];
  ck_row_panels_set(cut->k, t->b.channel, product.rows, 0, t->b.few_panels);
  for (int64_t i = 0; i < all; i++) {
    const int64_t tap[3] = {i / (taps[1] * taps[2]), i / taps[2] % taps[1], i % taps[2]};
    product.k = pick_pixels(t, box, tap, ld);
    if (product.k == 0)
      continue;
    product.data = (char *)t->b.window.data + t->b.tap[i] * item;
    ck_multiply_rows(&product);
    drain.dst = acc + i * row;
    cut->k->drain(&drain);
  }
}

/* A run of pixels that read inside the image for the same taps: the rows of these. */
static void multiply_run(const gw_task *t, int64_t ld, const ck_box *run, int64_t pixel) {
  const int64_t *taps = t->part.rows.taps;
  int64_t first[3], end[3];
  for (int i = 0; i < 3; i++) {
    ck_axis_taken(&t->p->source.axis[i], run->first[i + 1], run->size[i + 1], &first[i], &end[i]);
    end[i] = ck_min(first[i] + end[i] - t->part.rows.tap[i], taps[i]);
    first[i] = ck_max(first[i] - t->part.rows.tap[i], 0);
  }
  if (first[2] >= end[2])
    return;
  for (int64_t c = 0; c < t->part.rows.channels; c++)
    for (int64_t z = first[0]; z < end[0]; z++)
      for (int64_t y = first[1]; y < end[1]; y++)
        multiply_rows(t, ld, ((c * taps[0] + z) * taps[1] + y) * taps[2] + first[2], end[2] - first[2], pixel,
                      run->size[3], t->b.chain, CK_GO_ON);
}

/* A gradient that is not all finite, where the window holds staged zeros: 0 * Inf would be NaN. Run after run of
 * pixels, the chains going on from one to the next. */
static void multiply_runs(const gw_task *t, int64_t ld, ck_worker *worker, const ck_box *box, char *acc) {
  const gw_plan *p = t->p;
  ck_box run = {.size = {1, 1, 1, 1}};
  int64_t pixel = 0, elements = t->part.row_count * ld;
  memset(t->b.chain, 0, (size_t)(elements * t->cut->k->real_size));
  for (run.first[0] = box->first[0]; run.first[0] < box->first[0] + box->size[0]; run.first[0]++) {
    for (run.first[1] = box->first[1]; run.first[1] < box->first[1] + box->size[1]; run.first[1]++) {
      for (run.first[2] = box->first[2]; run.first[2] < box->first[2] + box->size[2]; run.first[2]++) {
        int64_t end = box->first[3] + box->size[3];
        for (run.first[3] = box->first[3]; run.first[3] < end && !ck_stopped(worker); run.first[3] += run.size[3]) {
          run.size[3] = ck_axis_alike(&p->source.axis[2], run.first[3], end - run.first[3]);
          multiply_run(t, ld, &run, pixel);
          pixel += run.size[3];
        }
      }
    }
  }
  t->cut->k->add(acc, t->b.chain, elements);
}

static void run_chunk(gw_task *t, ck_worker *worker, const ck_box *box, char *sums) {
  const ck_weight_cut *cut = t->cut;
  int64_t pixels = ck_box_count(box), rows = t->part.row_count;
  if (rows) {
    int64_t vector = cut->k->vector, channel = t->part.outer * (cut->by_lanes ? vector : 1) * cut->call->shape.c_in;
    int64_t lanes = cut->by_lanes ? ck_min(vector, cut->call->shape.groups - t->part.outer * vector) : 0;
    if (ck_window_fill(&t->b.window, box, &t->part.rows, channel, lanes)) {
      ck_window_output_offsets(&t->b.window, t->b.output);
      ck_window_tap_offsets(&t->b.window, t->b.tap);
      t->steady = ck_is_steady(t->b.output, pixels);
      ck_row_panels_set(cut->k, t->b.tap, rows, 0, t->b.panels);
    }
  }
  for (int64_t tile = t->part.tile; tile < t->part.tile_end; tile++) {
    char *acc = ck_weight_tile(cut, &t->part, sums, tile);
    const int64_t ld = ck_weight_ld(cut, tile);
    char *bias = acc + cut->max_rows * ld * cut->k->real_size;
    if (!rows && cut->call->bias && !has_activation(t->p)) {
      sum_gradient(t, box, tile, bias);
      continue;
    }
    int nonfinite = pack_gradient(t, box, tile, t->b.g);
    if (rows && nonfinite && t->b.window.padded)
      multiply_runs(t, ld, worker, box, acc);
    else if (rows && t->p->way == SWAPPED)
      multiply_swapped(t, pixels, acc);
    else if (rows && t->p->way == PICKED)
      multiply_picked(t, ld, box, acc);
    else if (rows)
      multiply_rows(t, ld, 0, rows, 0, pixels, acc, CK_ADD);
    if (t->part.row_part == 0 && cut->call->bias)
      cut->k->column_sums(t->b.g, pixels, ld, bias);
  }
}

static void gw_run_task(ck_worker *worker, void *context, int64_t index) {
  const gw_plan *p = context;
  const ck_conv *call = p->cut.call;
  gw_task t = {.p = p, .cut = &p->cut, .part = ck_weight_part_at(&p->cut, index)};
  int64_t chunks = ck_grid_count(&p->chunks), segments = p->cut.segments,
          end = chunks * (t.part.segment + 1) / segments;
  ck_arena arena = {.base = worker->scratch};
  place(p, &arena, &t.b);
  char *sums = ck_weight_sums(&p->cut, index, t.b.acc);
  for (int64_t x = 0; x < p->window.outputs[3]; x++) {
    t.b.y_off[x] = x * call->y.stride[4];
    t.b.act_off[x] = x * call->act_y.stride[4];
  }
  for (int64_t i = chunks * t.part.segment / segments; i < end && !ck_stopped(worker); i++) {
    ck_box box = ck_grid_box(&p->chunks, i);
    run_chunk(&t, worker, &box, sums);
  }
  ck_weight_end(&p->cut, &t.part, sums);
}

static ck_status run_direct(const ck_conv *call, int transposed, int64_t *bytes) {
  gw_plan p = make_plan(call, transposed);
  const int64_t shared = ck_weight_shared(&p.cut);
  if (bytes) {
    *bytes = ck_max(*bytes, shared + call->run.threads * p.cut.bytes);
    return CK_OK;
  }
  if (p.cut.tasks == 0)
    return CK_OK;
  ck_status status =
      ck_parallel(p.cut.tasks, gw_run_task, &p, &call->run, (char *)call->run.workspace + shared, p.cut.bytes);
  return status == CK_OK ? ck_weight_join(&p.cut) : status;
}

/* The transposed convolution's bias belongs to x: it is that of a convolution whose output x is. */
static ck_status transposed_bias(const ck_conv *call, int64_t *bytes) {
  ck_conv sum = *call;
  sum.shape.c_out = call->shape.groups * call->shape.c_in;
  sum.shape.groups = 1;
  sum.shape.c_in = 0;
  sum.y = call->x;
  sum.weight.data = NULL;
  for (int d = 0; d < 3; d++) {
    sum.shape.out[d] = call->shape.in[d];
    sum.shape.kernel[d] = sum.shape.stride[d] = 1; /* far steps to so many outputs would not fit 64 bits */
  }
  return ck_conv_grad_weight(&sum, 0, bytes);
}

ck_status ck_conv_grad_weight(const ck_conv *call, int transposed, int64_t *bytes) {
  ck_conv here = *call;
  ck_status status = CK_OK;
  int again = 1;
  if (transposed && call->bias) {
    status = transposed_bias(call, bytes);
    here.bias = NULL;
  }
  if (status != CK_OK || (transposed && !call->weight.data))
    return status;
  if (ck_weight_by_winograd(call)) {
    status = ck_weight_winograd(&here, transposed, bytes, &again);
    here.bias = NULL;
  } else if (ck_weight_by_lines(&here, transposed))
    return ck_weight_lines(&here, transposed, bytes);
  return status == CK_OK && again ? run_direct(&here, transposed, bytes) : status;
}
