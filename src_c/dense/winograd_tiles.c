#include "winograd_tiles.h"

static ck_box positions_of(const ck_box *tiles, int64_t margin) {
  ck_box box = *tiles;
  for (int i = 2; i < 4; i++) {
    box.first[i] *= CK_WINOGRAD_TILE;
    box.size[i] = tiles->size[i] * CK_WINOGRAD_TILE + margin;
  }
  return box;
}

void ck_winograd_set_tiles(const ck_winograd_load *load, const ck_box *tiles) {
  const ck_box box = positions_of(tiles, load->margin);
  const ck_kblock kb = {.channels = 1, .taps = {load->planes, 1, 1}};
  ck_window_set(load->window, &box, &kb);
}

void ck_winograd_load_tiles(const ck_winograd_load *load, const ck_box *tiles, int64_t first, int64_t channels) {
  const ck_window *w = load->window;
  const int64_t vector = w->kernels->vector, item = w->kernels->real_size, *size = tiles->size;
  const ck_box box = positions_of(tiles, load->margin);
  for (int64_t c = 0; c < channels; c += vector) {
    const ck_kblock kb = {.channel = c, .channels = 1, .taps = {load->planes, 1, 1}};
    ck_window_fill(load->window, &box, &kb, first, ck_min(vector, channels - c));
    const int64_t row = w->extent[2] * vector, plane = w->extent[1] * row;
    ck_winograd_tiles in = {.tiles = size[3], .from_row = row, .to_point = load->to_point, .to_tile = load->to_tile};
    for (int64_t y = 0; y < size[0] * w->extent[0] * size[2]; y++) {
      in.from = (char *)w->data + (y / size[2] * plane + y % size[2] * CK_WINOGRAD_TILE * row) * item;
      in.to = load->to + (y * size[3] * load->to_tile + c) * item;
      load->transform(&in);
    }
  }
}

void ck_winograd_tile_offsets(const ck_window *w, const ck_box *tiles, int64_t each, int32_t *offset) {
  const int64_t *size = tiles->size, plane = size[2] * size[3];
  for (int64_t n = 0; n < size[0]; n++)
    for (int64_t z = 0; z < size[1]; z++)
      for (int64_t i = 0; i < plane; i++)
        *offset++ = (int32_t)(((n * w->extent[0] + w->axis_output[0][z]) * plane + i) * each);
}

ck_window_size ck_winograd_window(const int64_t tiles[4], int64_t margin, int64_t planes) {
  ck_window_size size = {.channels = 1, .taps = {planes, 1, 1}};
  for (int i = 0; i < 4; i++)
    size.outputs[i] = i < 2 ? tiles[i] : tiles[i] * CK_WINOGRAD_TILE + margin;
  return size;
}

ck_axis ck_winograd_axis(int64_t outputs, int64_t source, int64_t base, int64_t step, int mode) {
  return (ck_axis){.outputs = outputs, .source = source, .base = base, .step = step, .taps = 1, .mode = mode};
}

int64_t ck_winograd_point(int64_t elements, int64_t item) { return (ck_ceil_div(elements * item, 64) | 1) * 64 / item; }
