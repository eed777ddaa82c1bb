#include "window.h"

#include <string.h>

/* Kernels may read up to this many bytes past a window's last element. */
enum { SLACK = 64 * CK_MAX_LANE_VECTORS };

enum { SHORT_ROW = 128 }; /* bytes */

static int64_t positions_of(const ck_source *source, const ck_window_size *size, int64_t extent[3]) {
  int64_t positions = 1;
  for (int d = 0; d < 3; d++) {
    extent[d] = ck_axis_bound(&source->axis[d], ck_max(1, size->outputs[d + 1]), ck_max(1, size->taps[d]));
    positions *= extent[d];
  }
  return positions;
}

/* A plane that is a multiple of 1024 bytes would put all channels of a position into four cache sets, or fewer. */
static int64_t plane_of(int64_t positions, int64_t item) {
  return positions * item % 1024 == 0 ? positions + 64 / item : positions;
}

/* What plane_of gives at most, for this many positions or fewer. */
static int64_t plane_bound(int64_t positions, int64_t item) { return positions + 64 / item; }

/* Whether channels are adjacent at each position. */
static int is_interleaved(ck_order order) { return order == CK_INTERLEAVED || order == CK_VECTORS; }

static int64_t unit_of(const ck_kernels *k, ck_order order, int64_t channels) {
  if (order == CK_VECTORS)
    return ck_round_up(channels, k->vector);
  return order == CK_LANES ? k->vector : order == CK_INTERLEAVED ? channels : 1;
}

static int64_t whole_vectors(const ck_kernels *k, const int64_t outputs[4]) {
  return ck_round_up(outputs[0] * outputs[1] * outputs[2] * outputs[3], k->vector);
}

/* Elements from one row of columns to the next. */
static int64_t column_of(const ck_kernels *k, const int64_t outputs[4]) {
  return plane_of(whole_vectors(k, outputs), k->real_size);
}

static int64_t column_bound(const ck_kernels *k, const int64_t outputs[4]) {
  return plane_bound(whole_vectors(k, outputs), k->real_size);
}

/* As register tiles cut so many outputs: balanced, the wider ones first. Kernels that copy may write a vector beyond.
 */
static ck_bands bands_of(const ck_source *s, int64_t positions, int64_t channels, int64_t item) {
  const int64_t units = ck_ceil_div(positions, s->band_unit), count = ck_ceil_div(units * s->band_unit, s->band);
  const int64_t least = units / ck_max(1, count), wider = units % ck_max(1, count);
  ck_bands bands = {.count = count, .wider = wider ? wider : count, .less = s->band_unit};
  bands.size = (least + (wider > 0)) * s->band_unit;
  bands.apart = channels * bands.size + 64 / item;
  return bands;
}

ck_window_size ck_window_size_of(const ck_grid *grid, const ck_reduction *reduction) {
  ck_kblock kb = ck_reduction_largest(reduction);
  ck_window_size size = {.channels = kb.channels};
  for (int d = 0; d < 4; d++)
    size.outputs[d] = ck_grid_largest(grid, d);
  for (int d = 0; d < 3; d++)
    size.taps[d] = kb.taps[d];
  return size;
}

int64_t ck_window_elements(const ck_kernels *k, const ck_source *source, const ck_window_size *size) {
  if (source->order == CK_COLUMNS)
    return size->channels * ck_taps_of(size->taps) * column_bound(k, size->outputs);
  int64_t extent[3], positions = positions_of(source, size, extent) * ck_max(1, size->outputs[0]);
  int64_t item = source->order == CK_LANES ? k->vector * k->real_size : k->real_size;
  if (is_interleaved(source->order))
    return positions * unit_of(k, source->order, size->channels);
  if (source->order == CK_BANDS) {
    const ck_bands bands = bands_of(source, positions, size->channels, item);
    return bands.count * bands.apart;
  }
  return plane_bound(positions, item) * size->channels * unit_of(k, source->order, size->channels);
}

void ck_window_place(ck_window *w, const ck_kernels *k, const ck_source *source, const ck_window_size *size,
                     ck_arena *arena) {
  int64_t extent[3];
  positions_of(source, size, extent);
  int64_t bytes = ck_window_elements(k, source, size) * k->real_size + SLACK;
  memset(w, 0, sizeof *w);
  w->kernels = k;
  w->source = source;
  w->data = ck_take(arena, bytes);
  if (source->act_y.data)
    w->act_data = ck_take(arena, bytes);
  for (int d = 0; d < 3; d++) {
    w->axis_source[d] = ck_take(arena, extent[d] * (int64_t)sizeof(int64_t));
    w->axis_output[d] = ck_take(arena, ck_max(1, size->outputs[d + 1]) * (int64_t)sizeof(int32_t));
    w->axis_tap[d] = ck_take(arena, ck_max(1, size->taps[d]) * (int64_t)sizeof(int32_t));
  }
  w->row_dst = ck_take(arena, extent[0] * extent[1] * (int64_t)sizeof(int32_t));
  w->row_src = ck_take(arena, extent[0] * extent[1] * (int64_t)sizeof(int64_t));
  w->span = ck_take(arena, extent[2] * (int64_t)sizeof(ck_span));
}

/* Runs of constant step along the innermost axis, zeros left out. */
static void make_spans(ck_window *w, int64_t stride) {
  const int64_t *source = w->axis_source[2], extent = w->extent[2];
  w->spans = 0;
  for (int64_t x = 0; x < extent;) {
    if (source[x] < 0) {
      x++;
      continue;
    }
    int64_t end = x + 1, step = end < extent && source[end] >= 0 ? source[end] - source[x] : 1;
    while (end < extent && source[end] >= 0 && source[end] - source[end - 1] == step)
      end++;
    w->span[w->spans++] = (ck_span){(int32_t)x, (int32_t)(end - x), source[x] * stride, step * stride};
    x = end;
  }
}

static void make_rows(ck_window *w, const int64_t stride[5]) {
  w->rows = 0;
  for (int64_t z = 0; z < w->extent[0]; z++) {
    for (int64_t y = 0; y < w->extent[1]; y++) {
      int64_t sz = w->axis_source[0][z], sy = w->axis_source[1][y];
      if (sz < 0 || sy < 0)
        continue;
      w->row_dst[w->rows] = (int32_t)((z * w->extent[1] + y) * w->extent[2]);
      w->row_src[w->rows++] = sz * stride[2] + sy * stride[3];
    }
  }
}

/* Short rows that follow one another, in the window and in the source, are one: each costs as much as a vector or two.
 * Of longer ones nothing is gained (Zen 4: 1x1 at 28x9 1.1 to 1.2 times as fast, at 56x56 0.93 to 0.98). */
static void join_short_rows(ck_window *w) {
  ck_span *all = w->span;
  if (w->rows == 0 || w->spans != 1 || all->length != w->extent[2] || all->length * w->kernels->real_size > SHORT_ROW)
    return;
  const int64_t row = all->length * all->src_step;
  for (int64_t r = 1; r < w->rows; r++)
    if (w->row_src[r] - w->row_src[r - 1] != row || w->row_dst[r] - w->row_dst[r - 1] != all->length)
      return;
  all->length *= (int32_t)w->rows;
  w->rows = 1;
}

/* The axes' tables for outputs `box` and these taps; returns whether any position is padding. */
static int set_axes(ck_window *w, const ck_box *box, const int64_t tap[3], const int64_t taps[3]) {
  int padded = 0;
  w->positions = 1;
  w->listed = NULL;
  for (int d = 0; d < 3; d++) {
    const ck_axis *axis = &w->source->axis[d];
    w->extent[d] = ck_axis_extent(axis, box->size[d + 1], taps[d]);
    w->positions *= w->extent[d];
    padded |= ck_axis_block(axis, box->first[d + 1], box->size[d + 1], tap[d], taps[d], w->axis_source[d],
                            w->axis_output[d], w->axis_tap[d]);
  }
  return padded;
}

void ck_window_set(ck_window *w, const ck_box *box, const ck_kblock *kb) {
  const ck_source *s = w->source;
  const ck_kernels *k = w->kernels;
  w->box = *box;
  w->kblock = *kb;
  w->padded = set_axes(w, box, kb->tap, kb->taps);
  w->unit = unit_of(k, s->order, kb->channels);
  w->plane = w->positions * box->size[0];
  if (s->order == CK_COLUMNS)
    w->plane = ck_taps_of(kb->taps) * column_of(k, box->size);
  else if (!is_interleaved(s->order))
    w->plane = plane_of(w->plane, w->unit * k->real_size);
  w->channel_step = is_interleaved(s->order) ? 1 : w->plane * w->unit;
  if (s->order == CK_BANDS) {
    w->bands = bands_of(s, w->positions * box->size[0], kb->channels, k->real_size);
    w->channel_step = w->bands.size;
  }
}

/* Zeros where there is padding. */
static void clear(ck_window *w, int64_t channels) {
  const int64_t planes = is_interleaved(w->source->order) ? 1 : channels;
  const size_t bytes = (size_t)(planes * w->plane * w->unit * w->kernels->real_size);
  w->zeroed = channels;
  if (!w->padded)
    return;
  memset(w->data, 0, bytes);
  if (w->act_data)
    memset(w->act_data, 0, bytes);
}

static int same_geometry(const ck_window *w, const ck_box *box, const ck_kblock *kb) {
  int same = memcmp(w->kblock.taps, kb->taps, sizeof kb->taps) == 0 &&
             memcmp(w->kblock.tap, kb->tap, sizeof kb->tap) == 0 && ck_box_alike(&w->box, box);
  /* Fewer channels than before keep a plane's layout, but no other. */
  return same && (is_interleaved(w->source->order) || w->source->order == CK_BANDS ? w->zeroed == kb->channels
                                                                                   : w->zeroed >= kb->channels);
}

/* What the stage copies of `tensor`, tables and all. */
static ck_stage stage_of(ck_window *w, const ck_tensor *tensor, const char *end, int64_t first_channel, void *dst) {
  if (w->listed != tensor) {
    make_rows(w, tensor->stride);
    make_spans(w, tensor->stride[4]);
    join_short_rows(w);
    w->listed = tensor;
  }
  return (ck_stage){
      .dst = dst,
      .src = (char *)tensor->data + w->box.first[0] * tensor->stride[0] +
             (first_channel + w->kblock.channel) * tensor->stride[1],
      .src_end = end,
      .images = w->box.size[0],
      .dst_image = w->positions * w->unit,
      .src_image = tensor->stride[0],
      .channels = w->kblock.channels,
      .dst_channel = w->channel_step,
      .src_channel = tensor->stride[1],
      .lanes = w->source->order == CK_LANES ? w->lanes : 0,
      .src_lane = w->source->lane_channels * tensor->stride[1],
      .dst_position = w->unit,
      .rows = w->rows,
      .row_dst = w->row_dst,
      .row_src = w->row_src,
      .spans = w->spans,
      .span = w->span,
      .bands = w->bands,
  };
}

/* One row of columns at a time: a window of a single tap is that row, for every channel. */
static void fill_columns(ck_window *w, const ck_tensor *tensor, const char *end, int64_t first_channel, void *data) {
  static const int64_t one[3] = {1, 1, 1};
  const ck_kblock *kb = &w->kblock;
  int64_t column = column_of(w->kernels, w->box.size), item = w->kernels->real_size, index = 0, tap[3];
  memset(data, 0, (size_t)(kb->channels * w->plane * item));
  for (tap[0] = kb->tap[0]; tap[0] < kb->tap[0] + kb->taps[0]; tap[0]++) {
    for (tap[1] = kb->tap[1]; tap[1] < kb->tap[1] + kb->taps[1]; tap[1]++) {
      for (tap[2] = kb->tap[2]; tap[2] < kb->tap[2] + kb->taps[2]; tap[2]++, index++) {
        set_axes(w, &w->box, tap, one);
        ck_stage stage = stage_of(w, tensor, end, first_channel, (char *)data + index * column * item);
        w->kernels->stage(&stage);
      }
    }
  }
}

static void fill(ck_window *w, const ck_tensor *tensor, const char *end, int64_t first_channel, void *data) {
  if (w->source->order == CK_COLUMNS) {
    fill_columns(w, tensor, end, first_channel, data);
    return;
  }
  ck_stage stage = stage_of(w, tensor, end, first_channel, data);
  w->kernels->stage(&stage);
}

int ck_window_fill(ck_window *w, const ck_box *box, const ck_kblock *kb, int64_t first_channel, int64_t lanes) {
  const ck_source *s = w->source;
  int fresh = !same_geometry(w, box, kb) || lanes != w->lanes, same = !fresh && w->kblock.channels == kb->channels;
  w->lanes = lanes;
  if (fresh || s->order == CK_COLUMNS)
    ck_window_set(w, box, kb);
  if (fresh && s->order != CK_COLUMNS)
    clear(w, kb->channels);
  w->box.first[0] = box->first[0];
  w->kblock = *kb;
  fill(w, &s->tensor, s->end, first_channel, w->data);
  if (w->act_data) {
    fill(w, &s->act_y, s->act_end, first_channel, w->act_data);
    int64_t planes = is_interleaved(s->order) ? 1 : kb->channels;
    w->kernels->activation_gradient(w->data, w->data, w->act_data, planes * w->plane * w->unit, s->activation, s->act_a,
                                    s->act_b);
  }
  return !same;
}

static void band_offsets(const ck_bands *s, int64_t count, int32_t *offsets) {
  for (int64_t i = 0, band = 0; i < count; band++)
    for (int64_t j = 0; j < s->size - (band < s->wider ? 0 : s->less) && i < count; j++)
      offsets[i++] = (int32_t)(band * s->apart + j);
}

void ck_window_output_offsets(const ck_window *w, int32_t *offsets) {
  if (w->source->order == CK_COLUMNS) {
    int64_t count = ck_box_count(&w->box);
    for (int64_t i = 0; i < count; i++)
      offsets[i] = (int32_t)i;
    return;
  }
  if (w->source->order == CK_BANDS) {
    band_offsets(&w->bands, ck_box_count(&w->box), offsets);
    return;
  }
  for (int64_t n = 0; n < w->box.size[0]; n++) {
    for (int64_t z = 0; z < w->box.size[1]; z++) {
      for (int64_t y = 0; y < w->box.size[2]; y++) {
        int64_t row = w->axis_output[0][z] * w->extent[1] + w->axis_output[1][y];
        int64_t at = n * w->positions + row * w->extent[2];
        for (int64_t x = 0; x < w->box.size[3]; x++)
          *offsets++ = (int32_t)((at + w->axis_output[2][x]) * w->unit);
      }
    }
  }
}

void ck_window_tap_offsets(const ck_window *w, int32_t *offsets) {
  const ck_kblock *kb = &w->kblock;
  if (w->source->order == CK_COLUMNS) {
    int64_t count = ck_kblock_k(kb), column = column_of(w->kernels, w->box.size);
    for (int64_t i = 0; i < count; i++)
      offsets[i] = (int32_t)(i * column);
    return;
  }
  for (int64_t c = 0; c < kb->channels; c++) {
    for (int64_t z = 0; z < kb->taps[0]; z++) {
      for (int64_t y = 0; y < kb->taps[1]; y++) {
        int64_t row = (w->axis_tap[0][z] * w->extent[1] + w->axis_tap[1][y]) * w->extent[2];
        for (int64_t x = 0; x < kb->taps[2]; x++)
          *offsets++ = (int32_t)(c * w->channel_step + (row + w->axis_tap[2][x]) * w->unit);
      }
    }
  }
}
