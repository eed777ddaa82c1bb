#include "col2im_plan.h"

int64_t ck_col2im_panel_bytes(const ck_col2im_plan *p) {
  return p->size.channels * ck_round_up(p->k->max_height, p->k->vector) * p->k->real_size;
}

int ck_col2im_has_parts(const ck_col2im_plan *p) { return ck_reduction_count(&p->rows) > p->rows.parts[0]; }

void ck_col2im_place(const ck_col2im_plan *p, ck_arena *arena, ck_col2im_buffers *b) {
  const int64_t item = p->k->real_size, vector = p->k->vector * item;
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  int64_t size[3];
  for (int d = 0; d < 3; d++) {
    size[d] = ck_grid_largest(&p->grid, d + 1);
    b->axis[d] = p->axis[d];
    if (d == 2)
      ck_col2im_place_phases(&b->axis[d], size[d], kb.taps[d], arena);
    else
      ck_col2im_place_links(&b->axis[d], size[d], kb.taps[d], arena);
  }
  const int64_t links = ck_col2im_positions(&p->axis[1], size[1], kb.taps[1]) * kb.taps[1];
  b->offset = ck_take(arena, ck_max(links, ck_max(p->most_rows, p->size.channels)) * (int64_t)sizeof(int64_t));
  b->bias = ck_take(arena, p->most_channels * item);
  const int64_t rows = ck_col2im_has_parts(p) ? ck_grid_largest(&p->grid, 0) * size[0] * size[1] : 1;
  b->sums = ck_take(arena, rows * p->row * item + vector);
  ck_window_place(&b->y, p->k, &p->y, &p->size, arena);
  b->columns = b->y.data;
  if (!p->multiplied)
    return;
  b->columns = ck_take(arena, p->most_rows * p->column * item + vector);
  if (p->few) {
    b->totals = ck_take(arena, p->positions * ck_round_up(p->most_rows, p->k->vector) * item);
    return;
  }
  b->panels = ck_take(arena, CK_COL2IM_PANELS * ck_col2im_panel_bytes(p));
  b->weight = p->adjoining ? NULL : ck_take(arena, p->most_rows * ck_round_up(p->size.channels, p->k->vector) * item);
  b->ko = ck_take(arena, p->size.channels * (int64_t)sizeof(int32_t));
}

/* The columns as the user has them, as a source of one channel for each. */
static ck_source columns_of(const ck_conv *call) {
  const ck_conv_shape *s = &call->shape;
  ck_source y = {.tensor = call->y};
  int64_t *stride = y.tensor.stride;
  stride[3] = s->out[2] * stride[4];
  stride[2] = s->out[1] * stride[3];
  y.end = ck_tensor_end(&y.tensor, s->n, s->c_in * ck_taps_of(s->kernel), s->out, call->kernels->real_size);
  return y;
}

int64_t ck_col2im_image_pitch(const ck_col2im_plan *p, int64_t positions) {
  return p->in_place ? ck_round_up(positions, p->k->vector) : positions;
}

/* Whether products may read y where it lies: each image's channels in whole vectors, of which few are nobody's. */
static int reads_in_place(const ck_col2im_plan *p) {
  const ck_conv_shape *s = &p->call->shape;
  const int64_t *stride = p->y.tensor.stride, item = p->k->real_size, plane = s->out[0] * s->out[1] * s->out[2];
  const int even = stride[4] == item && stride[0] >= 0 && stride[1] >= 0 && stride[1] % item == 0;
  return p->multiplied && !p->y.act_y.data && even && stride[1] / item < INT32_MAX / ck_max(1, p->size.channels) &&
         8 * ck_round_up(plane, p->k->vector) <= 9 * plane;
}

/* Whether rows of the weights are lanes for `unpacked`, which takes products that are neighbours for lanes that are
 * not: a single row's are. */
static int lanes_adjoin(const ck_col2im_plan *p) {
  return p->adjoining && p->call->weight.stride[0] != p->k->real_size;
}

/* More positions are better off with panels: 512 to 256 channels with 4x4 taps take, without them, 0.12 of the time
 * from one position, 0.6 from 48, of one image 0.9 from 64 and 1.1 from 100 (Zen 3, one thread). */
enum { FEW = 48 };

static void set_grid(ck_col2im_plan *p, const int64_t size[4], int64_t target) {
  int64_t block[4], positions = 1;
  ck_row_block(size, target, 1, block);
  p->grid = ck_grid_make(size, block);
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  p->size.outputs[0] = ck_grid_largest(&p->grid, 0);
  for (int d = 0; d < 3; d++)
    p->size.outputs[d + 1] = ck_col2im_positions(&p->axis[d], ck_grid_largest(&p->grid, d + 1), kb.taps[d]);
  for (int d = 1; d < 4; d++)
    positions *= p->size.outputs[d];
  p->few = p->multiplied && lanes_adjoin(p) && p->size.outputs[0] * positions <= FEW;
  p->y.order = p->few ? CK_VECTORS : CK_PLANES;
  p->in_place = !p->few && reads_in_place(p);
  p->positions = p->size.outputs[0] * ck_col2im_image_pitch(p, positions);
  const int64_t item = p->k->real_size, vector = p->k->vector, width = ck_grid_largest(&p->grid, 3);
  const int64_t stride = p->axis[2].stride;
  p->column = ck_round_up(p->positions, vector);
  p->column += p->column * item % 1024 == 0 ? vector : 0; /* or all would meet in a few sets of level 1 */
  p->pitch = ck_round_up(ck_ceil_div(width, stride), vector);
  p->row = p->most_channels * p->pitch * ck_min(stride, width);
}

/* Whether the rows of a block are neighbours in the weights: then panels are packed from where they are. */
static int rows_adjoin(const ck_conv *call, const ck_kblock *kb) {
  const int64_t *stride = call->weight.stride, *kernel = call->shape.kernel;
  int64_t step = call->kernels->real_size;
  int adjoin = 1, whole = 1;
  for (int i = 2; i >= 0; i--) {
    adjoin &= kb->taps[i] == 1 || (whole && stride[i + 2] == step);
    whole &= kb->taps[i] == kernel[i];
    step *= kernel[i];
  }
  return adjoin && (kb->channels == 1 || (whole && stride[1] == step));
}

/* Blocks of so many rows at most; fewer channels where there are fewer images than threads, to keep these busy. */
static void set_rows(ck_col2im_plan *p, int64_t cap) {
  const ck_conv *call = p->call;
  const ck_conv_shape *s = &call->shape;
  const int64_t parts = ck_ceil_div(call->run.threads, ck_max(1, ck_min(s->n * s->groups, call->run.threads)));
  p->rows = ck_reduction_make(s->c_in, s->kernel, ck_min(cap, ck_ceil_div(s->c_in, parts) * ck_taps_of(s->kernel)));
  const ck_kblock kb = ck_reduction_largest(&p->rows);
  p->most_rows = ck_kblock_k(&kb);
  p->most_channels = kb.channels;
  p->adjoining = rows_adjoin(call, &kb);
  if (!p->multiplied)
    p->size.channels = p->most_rows;
}

int64_t ck_col2im_tasks(const ck_col2im_plan *p) {
  return ck_grid_count(&p->grid) * p->call->shape.groups * p->rows.parts[0];
}

/* What the thread with the most tasks takes, in products: a task packs its panels, and each block of rows copies y, as
 * some more positions and rows would take, more where channels lie last and are transposed. */
static double cost_of(const ck_col2im_plan *p) {
  enum { PACKED = 4, COPIED = 8, COPIED_APART = 20 };
  const int64_t *size = p->size.outputs, parts = ck_reduction_count(&p->rows) / ck_max(1, p->rows.parts[0]);
  const int64_t copied = p->y.tensor.stride[4] == p->k->real_size ? COPIED : COPIED_APART;
  const double positions = (double)(size[0] * size[1]) * (double)(size[2] * size[3]);
  const double rounds = (double)ck_ceil_div(ck_col2im_tasks(p), p->call->run.threads);
  return rounds * (double)parts * (positions + PACKED) * (double)(p->most_rows + copied);
}

static int fits(const ck_col2im_plan *p) { return p->bytes <= ck_thread_bytes(&p->call->run, CK_THREAD_BYTES); }

/* Whether boxes are better than others: those that fit, then those of less cost. Where none fit, as padding that goes
 * round is read from afar, smaller ones save little and cost much, unless memory is what is asked for. */
static int is_better(const ck_col2im_plan *p, const ck_col2im_plan *other) {
  if (fits(p) != fits(other))
    return fits(p);
  if (fits(p))
    return cost_of(p) < cost_of(other);
  if (p->call->run.limit)
    return p->bytes < other->bytes;
  return (double)p->bytes * cost_of(p) < (double)other->bytes * cost_of(other);
}

/* Boxes of the least cost that scratch allows: smaller ones share out better, but need more positions twice. */
static void set_boxes(ck_col2im_plan *p) {
  enum { MOST_ELEMENTS = 1 << 17 };
  const ck_conv_shape *s = &p->call->shape;
  const int64_t size[4] = {s->n, s->in[0], s->in[1], s->in[2]};
  ck_col2im_plan other = *p;
  for (int64_t target = MOST_ELEMENTS; target > 0; target /= 2) {
    ck_col2im_buffers b = {0};
    ck_arena count = {0};
    set_grid(&other, size, target);
    ck_col2im_place(&other, &count, &b);
    other.bytes = count.used;
    if (target == MOST_ELEMENTS || is_better(&other, p))
      *p = other;
    else if (fits(p) && cost_of(&other) > cost_of(p))
      return;
  }
}

/* Whether padding of any axis repeats elements. */
static int repeats(const ck_col2im_plan *p) {
  return p->axis[0].mode != CK_ZEROS || p->axis[1].mode != CK_ZEROS || p->axis[2].mode != CK_ZEROS;
}

/* As many rows at a time as make the least work: of large kernels, all columns of a position may leave room for few
 * positions. Fewer may take more, and fewer still less: 30 to 106 channels, 10x2 dilated on 57x37, took 54 ms in place
 * of 2.5, each box a row, until all were tried that leave more than one box (a Zen 4, one thread). Where padding
 * repeats elements, in which order those are added depends on how taps are cut: there it must not follow from scratch.
 */
ck_col2im_plan ck_col2im_make_plan(const ck_conv *call, int multiplied, int transposed) {
  enum { MOST_ROWS = 256, FEWEST_ROWS = 16, PRODUCTS = 128 }; /* as few leave room for positions */
  const ck_conv_shape *s = &call->shape;
  const int64_t one[3] = {1, 1, 1};
  ck_col2im_plan p = {.call = call, .k = call->kernels, .multiplied = multiplied, .transposed = transposed};
  p.channels = ck_reduction_make(s->c_out, one, PRODUCTS);
  p.size = (ck_window_size){.channels = ck_reduction_largest(&p.channels).channels, .taps = {1, 1, 1}};
  p.y = multiplied ? ck_conv_y_source(call, !transposed, 0) : columns_of(call);
  for (int d = 0; d < 3; d++) {
    p.axis[d] = ck_col2im_axis_make(s, d);
    if (multiplied && s->c_out == 0) /* nothing reaches x */
      p.axis[d].out = 0;
    p.y.axis[d] = (ck_axis){.outputs = s->out[d], .source = s->out[d], .step = 1, .taps = 1, .tap_step = 1};
  }
  set_rows(&p, MOST_ROWS);
  set_boxes(&p);
  for (int64_t cap = MOST_ROWS / 2; cap >= FEWEST_ROWS && !repeats(&p); cap /= 2) {
    ck_col2im_plan other = p;
    set_rows(&other, cap);
    set_boxes(&other);
    if (is_better(&other, &p))
      p = other;
    else if (ck_grid_count(&p.grid) == 1)
      break;
  }
  return p;
}
