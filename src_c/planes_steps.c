/* The steps by which one output channel of a block comes about: recorded, and taken. */
#include <math.h>

#include "planes_plan.h"

/* ---------------------------------------------------------------- taking steps */

static void activate(const ck_planes_task *t, const ck_step *step) {
  const ck_dense *d = t->p->d;
  ck_sums rows = {
      .c = step->from, .rows = step->lines, .ld = t->p->ld, .activation = d->activation, .a = d->act_a, .b = d->act_b};
  d->kernels->activate_sums(&rows);
}

static void join(const ck_planes_task *t, const ck_step *step) {
  const ck_planes_plan *p = t->p;
  const int64_t row = step->kind == CK_STEP_BLANK ? 0 : p->ld * p->d->kernels->real_size;
  char *to = t->image + step->to, *from = step->from;
  for (int64_t i = 0; i < step->lines; i++, to += step->to_row, from += row)
    p->d->kernels->join(to, step->to_pixel, from, p->lines * p->ld, step->phases, step->columns);
}

static void sums(const ck_planes_task *t, ck_step *step) {
  if (step->kind == CK_STEP_OUTPUT) {
    step->plane.to = t->image + step->to;
    step->plane.to_row = step->to_row;
  }
  if (step->kind != CK_STEP_SUMS)
    step->plane.bias = t->bias;
  step->plane.w = t->w + step->w;
  step->plane.mask = t->masked ? t->block.mask : NULL;
  t->p->d->kernels->plane(&step->plane);
}

static void take(const ck_planes_task *t, ck_step *step) {
  switch (step->kind) {
  case CK_STEP_SUMS:
  case CK_STEP_OUTPUT:
  case CK_STEP_KEEP:
    sums(t, step);
    break;
  case CK_STEP_ADD:
    t->p->d->kernels->add(t->sum[2], step->from, step->columns);
    break;
  case CK_STEP_ACTIVATE:
    activate(t, step);
    break;
  case CK_STEP_JOIN:
  case CK_STEP_BLANK:
    join(t, step);
    break;
  }
}

static void take_all(ck_planes_task *t) {
  for (int64_t i = 0; i < t->steps; i++)
    take(t, &t->step[i]);
}

static ck_step *add_step(ck_planes_task *t, ck_step_kind kind) {
  if (t->steps == CK_MOST_STEPS) {
    take_all(t);
    t->steps = 0;
    t->too_many = 1;
  }
  ck_step *step = &t->step[t->steps++];
  *step = (ck_step){.kind = kind};
  return step;
}

/* ---------------------------------------------------------------- which lines of outputs share taps */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t next = a % b;
    a = b;
    b = next;
  }
  return a;
}

/* Slots from one tap to the next. */
static int64_t gap_of(const ck_slots *s, const ck_tap_list *taps) {
  return taps->count > 1 ? ck_slot_of_tap(s, taps->first + taps->step) - ck_slot_of_tap(s, taps->first) : s->step;
}

/* Outputs so far apart share slots. */
static int64_t lines_apart(const ck_slots *s, const ck_tap_list *taps) {
  int64_t gap = gap_of(s, taps), distance = gap < 0 ? -gap : gap;
  return distance / common_divisor(s->step, distance);
}

/* Lines of outputs: output first, first + step, ... of the block, whose taps follow each other in the slots. */
typedef struct lines {
  ck_tap_list taps;
  int64_t first, step, count;
  int64_t slot, gap; /* which the first output reads for the first tap; from one tap to the next */
  int64_t shared;    /* taps from one output's first to the next's */
} lines;

/* Those outputs of the first `count` that follow output `ordinal` < lines_apart; backwards where taps go down. */
static lines lines_of(const ck_slots *s, const ck_tap_list *taps, int64_t ordinal, int64_t count) {
  lines l = {.taps = *taps, .gap = gap_of(s, taps)};
  int64_t apart = lines_apart(s, taps), distance = l.gap < 0 ? -l.gap : l.gap;
  l.count = (count - ordinal - 1) / apart + 1;
  l.first = l.gap > 0 ? ordinal : ordinal + (l.count - 1) * apart;
  l.step = l.gap > 0 ? apart : -apart;
  l.shared = apart * s->step / distance;
  l.slot = l.first * s->step + (taps->count ? ck_slot_of_tap(s, taps->first) : 0);
  return l;
}

/* Those q of slots slot + q * gap that hold data: lo <= q < hi. */
static void slots_there(const ck_slots *s, int64_t slot, int64_t gap, int64_t *lo, int64_t *hi) {
  if (gap > 0) {
    *lo = floor_div(s->lo - slot + gap - 1, gap);
    *hi = floor_div(s->hi - slot + gap - 1, gap);
  } else {
    *lo = floor_div(slot - s->hi, -gap) + 1;
    *hi = floor_div(slot - s->lo, -gap) + 1;
  }
}

/* The part of a list that lies in taps first..first+count-1: its first entry, and how many. */
static int64_t list_part(const ck_tap_list *list, int64_t first, int64_t count, int64_t *entries) {
  int64_t from = ck_min(list->count, ck_ceil_div(ck_max(0, first - list->first), list->step));
  int64_t end = ck_min(list->count, ck_ceil_div(ck_max(0, first + count - list->first), list->step));
  *entries = end - from;
  return from;
}

/* ---------------------------------------------------------------- sums over all taps of one phase */

typedef struct phase {
  const lines *y;
  ck_tap_list z, x;
  int64_t z_output;             /* of the block */
  int64_t line, lines, columns; /* from `line` on */
  ck_step_kind kind;            /* of the last step */
  char *keep;                   /* where it leaves sums in scratch, or `to` */
  int64_t to, to_row;
} phase;

static void set_last(const ck_planes_task *t, const phase *f, ck_step *step) {
  const ck_planes_plan *p = t->p;
  step->kind = f->kind;
  step->to = f->to;
  step->to_row = f->to_row;
  step->plane.to = f->keep;
  step->plane.to_row = p->ld * p->d->kernels->real_size;
  step->plane.least = t->least;
  step->plane.most = t->most;
}

/* Sums over nothing. */
static ck_plane no_taps(const ck_planes_task *t, int64_t lines, int64_t columns) {
  return (ck_plane){.s = t->block.data, .rows = lines, .columns = columns, .shared = 1, .taps_y = 1};
}

/* Where the weights of a phase begin in the panel of a channel. */
static int64_t weights_of(const ck_axis *a, const phase *f) {
  int64_t row = ck_taps_before(&a[1], f->y->taps.first) * a[2].taps;
  row += f->y->taps.count * ck_taps_before(&a[2], f->x.first);
  return ck_taps_before(&a[0], f->z.first) * a[1].taps * a[2].taps + f->z.count * row;
}

/* The chain over the planes of one k-block. If it is `all` there is, its end is the phase's; else that is left where
 * the returned pointer says, which is sum[2] for the first. NULL if there was no plane. */
static char *sum_kblock(ck_planes_task *t, const phase *f, const ck_kblock *kb, int all, int first) {
  const ck_planes_plan *p = t->p;
  const ck_planes_block *b = &t->block;
  const ck_axis *a = p->d->source.axis;
  const int64_t item = b->kernels->real_size, y_taps = f->y->taps.count;
  int64_t zn, yn, xn, lo, hi, z0 = list_part(&f->z, kb->tap[0], kb->taps[0], &zn);
  int64_t y0 = list_part(&f->y->taps, kb->tap[1], kb->taps[1], &yn),
          x0 = list_part(&f->x, kb->tap[2], kb->taps[2], &xn);
  int64_t z_slot = f->z_output * b->z.step + (zn ? ck_slot_of_tap(&b->z, f->z.first) : 0), z_gap = gap_of(&b->z, &f->z);
  slots_there(&b->z, z_slot, z_gap, &lo, &hi);
  int64_t z_end = ck_min(z0 + zn, hi);
  z0 = ck_max(z0, lo);
  if (z0 >= z_end || yn == 0 || xn == 0 || kb->channels == 0)
    return NULL;
  int64_t slot = f->y->slot + f->line * f->y->step * b->y.step + y0 * f->y->gap;
  int64_t w = weights_of(a, f) + (x0 + 1) * y_taps - y0 - yn, planes = kb->channels * (z_end - z0);
  ck_plane plane = {.rows = f->lines,
                    .columns = f->columns,
                    .s_row = f->y->shared * f->y->gap * b->pitch,
                    .s_tap = f->y->gap * b->pitch,
                    .shared = f->y->shared,
                    .taps_y = yn,
                    .taps_x = xn,
                    .xo = t->xo + ck_taps_before(&a[2], f->x.first) + x0,
                    .w_column = y_taps,
                    .chain_row = p->ld,
                    .to_row = p->ld * item,
                    .least = -INFINITY,
                    .most = INFINITY};
  slots_there(&b->y, slot, f->y->gap, &plane.lo, &plane.hi);
  for (int64_t i = 0; i < planes; i++) {
    int64_t c = kb->channel + i / (z_end - z0), z = z0 + i % (z_end - z0);
    int last = i == planes - 1;
    ck_step *step = add_step(t, CK_STEP_SUMS);
    plane.s = b->data + (c * b->channel + (z_slot + z * z_gap) * b->plane + slot * b->pitch) * item;
    plane.to = t->sum[first && last ? 2 : i % 2];
    step->plane = plane;
    step->w = (c * p->taps + w + z * y_taps * f->x.count) * item;
    if (all && last)
      set_last(t, f, step);
    plane.chain = plane.to;
  }
  return plane.to;
}

/* Several k-blocks are chains of their own, added in order. */
static void sum_phase(ck_planes_task *t, const phase *f) {
  const ck_planes_plan *p = t->p;
  int64_t blocks = ck_reduction_count(&p->reduction);
  char *total = NULL;
  for (int64_t i = 0; i < blocks; i++) {
    ck_kblock kb = ck_reduction_block(&p->reduction, i);
    char *sums = sum_kblock(t, f, &kb, blocks == 1, !total);
    if (sums && blocks == 1)
      return;
    if (sums && total) {
      ck_step *step = add_step(t, CK_STEP_ADD);
      step->from = sums;
      step->columns = f->lines * p->ld;
    }
    total = sums ? t->sum[2] : total;
  }
  ck_step *step = add_step(t, f->kind);
  step->plane = no_taps(t, f->lines, f->columns);
  step->plane.chain = total;
  step->plane.chain_row = p->ld;
  set_last(t, f, step);
}

/* ---------------------------------------------------------------- the output's lines */

/* How many outputs of the block have an element of this phase. */
static int64_t outputs_of_phase(const ck_planes_task *t, int axis, int64_t index) {
  const ck_dense *d = t->p->d;
  const ck_axis *a = &d->source.axis[axis];
  int64_t size = a->stride ? d->dst_size[axis] : a->outputs, first = t->box.first[axis + 1];
  return ck_max(0, ck_min(t->box.size[axis + 1], ck_ceil_div(size - index, ck_planes_phases(d, axis)) - first));
}

/* Elements of the output in a row of the block. */
static int64_t row_length(const ck_planes_task *t) {
  int64_t length = 0, phases = t->p->phases_x;
  for (int64_t i = 0; i < phases; i++)
    length += outputs_of_phase(t, 2, i);
  return length;
}

/* `count` lines of which nothing but bias and activation is known. */
static void add_blanks(ck_planes_task *t, int64_t count, int64_t to, int64_t to_row) {
  const ck_dense *d = t->p->d;
  ck_step *step = add_step(t, CK_STEP_BLANK);
  step->from = t->blank;
  step->lines = count;
  step->columns = row_length(t);
  step->phases = 1;
  step->to = to;
  step->to_row = to_row;
  step->to_pixel = d->dst.stride[4];
}

static void make_blank(ck_planes_task *t) {
  phase f = {.lines = 1, .columns = row_length(t), .kind = CK_STEP_KEEP, .keep = t->blank};
  ck_step *step = add_step(t, CK_STEP_KEEP);
  step->plane = no_taps(t, 1, f.columns);
  set_last(t, &f, step);
  if (t->bounded)
    return;
  step = add_step(t, CK_STEP_ACTIVATE);
  step->from = t->blank;
  step->lines = 1;
  step->columns = f.columns;
}

/* Sums of every phase along x, in scratch, and from there to the output. */
static void join_phases(ck_planes_task *t, phase *f) {
  const ck_planes_plan *p = t->p;
  const ck_axis *a = &p->d->source.axis[2];
  const int64_t stride = p->d->dst.stride[4], room = p->lines * p->ld * p->d->kernels->real_size;
  int64_t classes = ck_planes_classes(a), tapped = 0, to = f->to;
  for (int64_t i = 0; i < classes; i++)
    tapped += ck_tap_phase(a, i) < p->phases_x;
  int all = tapped == p->phases_x;
  if (!all)
    add_blanks(t, f->lines, to, f->to_row);
  f->kind = CK_STEP_KEEP;
  for (int64_t i = 0; i < classes; i++) {
    int64_t at = ck_tap_phase(a, i), columns = at < p->phases_x ? outputs_of_phase(t, 2, at) : 0;
    if (columns == 0)
      continue;
    f->x = ck_class_taps(a, i);
    f->columns = columns;
    f->keep = t->out + (all ? at : 0) * room;
    sum_phase(t, f);
    if (!t->bounded) {
      ck_step *step = add_step(t, CK_STEP_ACTIVATE);
      step->from = f->keep;
      step->lines = f->lines;
      step->columns = columns;
    }
    if (!all || i == classes - 1) {
      ck_step *step = add_step(t, CK_STEP_JOIN);
      step->from = all ? t->out : f->keep;
      step->lines = f->lines;
      step->columns = all ? row_length(t) : columns;
      step->phases = all ? p->phases_x : 1;
      step->to = to + (all ? 0 : at * stride);
      step->to_row = f->to_row;
      step->to_pixel = all ? stride : p->phases_x * stride;
    }
  }
}

static void add_lines(ck_planes_task *t, phase *f, const lines *y, int64_t plane, int64_t phase_y) {
  const ck_planes_plan *p = t->p;
  const ck_dense *d = p->d;
  const int64_t phases_y = ck_planes_phases(d, 1), row = d->dst.stride[3];
  int64_t column = t->box.first[3] * p->phases_x * d->dst.stride[4];
  f->y = y;
  f->to_row = y->step * phases_y * row;
  for (f->line = 0; f->line < y->count; f->line += f->lines) {
    f->lines = ck_min(p->lines, y->count - f->line);
    f->to = plane + column + ((t->box.first[2] + y->first + f->line * y->step) * phases_y + phase_y) * row;
    if (!p->direct) {
      join_phases(t, f);
      continue;
    }
    f->x = ck_phase_taps(&d->source.axis[2], 0);
    f->columns = t->box.size[3];
    f->kind = CK_STEP_OUTPUT;
    sum_phase(t, f);
  }
}

/* Lines of one plane of outputs. */
static void add_plane(ck_planes_task *t, int64_t z_output, int64_t phase_z, int64_t plane) {
  const ck_dense *d = t->p->d;
  const ck_axis *a = d->source.axis;
  const int64_t phases_y = ck_planes_phases(d, 1), row = d->dst.stride[3];
  phase f = {.z = ck_phase_taps(&a[0], phase_z), .z_output = z_output};
  for (int64_t phase_y = 0; phase_y < phases_y; phase_y++) {
    ck_tap_list taps = ck_phase_taps(&a[1], phase_y);
    int64_t count = outputs_of_phase(t, 1, phase_y), apart = lines_apart(&t->block.y, &taps);
    if (count == 0)
      continue;
    if (a[1].stride && (taps.count == 0 || f.z.count == 0)) {
      int64_t to = plane + t->box.first[3] * t->p->phases_x * d->dst.stride[4];
      add_blanks(t, count, to + (t->box.first[2] * phases_y + phase_y) * row, phases_y * row);
      continue;
    }
    for (int64_t k = 0; k < apart && k < count && !ck_stopped(t->worker); k++) {
      lines y = lines_of(&t->block.y, &taps, k, count);
      add_lines(t, &f, &y, plane, phase_y);
    }
  }
}

void ck_planes_channel(ck_planes_task *t) {
  const ck_dense *d = t->p->d;
  const int64_t phases_z = ck_planes_phases(d, 0);
  if (t->recorded && !t->too_many) {
    take_all(t);
    return;
  }
  t->steps = 0;
  if (d->source.axis[0].stride)
    make_blank(t);
  for (int64_t i = 0; i < t->box.size[1] * phases_z && !ck_stopped(t->worker); i++) {
    int64_t phase_z = i % phases_z, z = i / phases_z;
    if (z < outputs_of_phase(t, 0, phase_z))
      add_plane(t, z, phase_z, ((t->box.first[1] + z) * phases_z + phase_z) * d->dst.stride[2]);
  }
  t->recorded = 1;
  take_all(t);
}
