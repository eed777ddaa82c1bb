/* By plane: one output channel a group, as in depthwise convolution, with pixels on the lanes. Rows of the output that
 * are a tap row apart share the rows of the window that they read. */
#include "dense_plane.h"

#include <string.h>

#include "dense_cost.h"
#include "dense_drain.h"

/* Of the rows of a window, those that hold more than padding. */
static void rows_there(const ck_window *w, int64_t *first, int64_t *end) {
  *first = 0;
  *end = w->extent[1];
  while (*first < *end && w->axis_source[1][*first] < 0)
    ++*first;
  while (*end > *first && w->axis_source[1][*end - 1] < 0)
    --*end;
}

/* Which rows share what they read: those of the output that are `s_row` apart, taps `s_tap`. */
static void set_sharing(const ck_block *b, ck_phase_taps *taps, int64_t first_down) {
  const ck_window *w = &b->b.window;
  const int64_t rows = b->box.size[2], apart = taps->s_row ? taps->s_tap / taps->s_row : 0;
  if (taps->down < 2 || apart * taps->s_row != taps->s_tap || apart >= rows || apart <= -rows)
    return;
  taps->apart = apart;
  if (b->in_place) { /* nothing is padding: beyond the last row that is read */
    taps->end = rows * taps->s_row + taps->down * taps->s_tap;
    return;
  }
  rows_there(w, &taps->first, &taps->end);
  taps->first = (taps->first - w->axis_tap[1][first_down]) * w->extent[2];
  taps->end = (taps->end - w->axis_tap[1][first_down]) * w->extent[2];
}

void ck_dense_set_phase_taps(const ck_block *b) {
  const ck_dense *d = b->d;
  const ck_kblock *kb = &b->kblock;
  const ck_lane_runs *runs = &b->runs;
  for (int64_t f = b->phase; f < b->phase_end; f++) {
    ck_phase_taps *taps = &b->b.phase_taps[f - b->phase];
    const int64_t first = b->b.phase_start[f - b->phase], k = b->b.phase_start[f - b->phase + 1] - first;
    const int32_t *ko = b->b.ko + first;
    int64_t first_down = 0;
    *taps = (ck_phase_taps){0};
    for (int64_t i = 0; i < kb->taps[2]; i++)
      taps->across += ck_dense_phase_of(d, 2, kb->tap[2] + i) == f % d->phases[2];
    for (int64_t i = kb->taps[1] - 1; i >= 0; i--) {
      if (ck_dense_phase_of(d, 1, kb->tap[1] + i) != f / d->phases[2] % d->phases[1])
        continue;
      taps->down++;
      first_down = i;
    }
    if (k == 0)
      continue;
    taps->planes = k / (taps->across * taps->down);
    taps->s_tap = taps->down > 1 ? ko[taps->across] - ko[0] : 0;
    taps->s_row = runs->axis == 3 && b->box.size[2] > 1 ? b->b.ro[runs->outputs] - b->b.ro[0] : 0;
    set_sharing(b, taps, first_down);
  }
}

/* A plane of the block. Rows of the output are taken together that are a tap row apart: each row that has been loaded
 * serves all of them. Where taps go up as rows go down, the last one comes first. */
static void multiply_plane(const ck_block *b, const ck_plane *plane, const ck_phase_taps *taps) {
  const int64_t apart = taps->apart, distance = apart < 0 ? -apart : apart, item = b->d->kernels->real_size;
  if (distance == 0) {
    b->d->kernels->plane(plane);
    return;
  }
  for (int64_t i = 0; i < distance; i++) {
    ck_plane some = *plane;
    some.rows = distance == 1 ? plane->rows : (plane->rows - 1 - i) / distance + 1;
    const int64_t first = apart > 0 ? i : i + (some.rows - 1) * distance;
    some.s = (const char *)plane->s + first * plane->s_row * item;
    some.s_row *= apart;
    some.to += first * plane->to_row;
    some.to_row *= apart;
    some.first = (const char *)plane->s + taps->first * item;
    some.end = (const char *)plane->s + taps->end * item;
    b->d->kernels->plane(&some);
  }
}

static int is_far(const ck_dense *d) {
  double source = (double)d->channels, output = (double)d->lanes;
  for (int i = 0; i < 3; i++) {
    source *= (double)d->source.axis[i].source;
    output *= (double)d->source.axis[i].outputs * (double)ck_max(1, d->dst_step[i]);
  }
  return (source + output) * (double)(d->n * d->groups * d->kernels->real_size) > CK_FAR_PLANES;
}

/* Pieces of so many bytes: those of all planes of an image are one, but of a block of one image. Of an array whose
 * planes or rows lie far apart, what lies between is not worth fetching. */
enum { MOST_FETCHED = 16 };

static ck_ahead ahead_of(const ck_block *b, int64_t first, int64_t last, int64_t planes, int64_t plane, int64_t image) {
  const int64_t vectors = b->runs.runs * ck_ceil_div(b->runs.lanes, b->d->kernels->vector) * (b->phase_end - b->phase);
  const int whole = planes == 1 || b->box.size[0] > 1;
  ck_ahead a = {.first = first, .bytes = last - first, .apart = whole ? image : plane};
  a.bytes += whole ? (planes - 1) * plane : 0;
  const int64_t lines = (whole ? b->box.size[0] : planes) * ck_ceil_div(ck_max(0, a.bytes), 64);
  a.rate = ck_min(ck_ceil_div(lines * 16, ck_max(1, vectors)), MOST_FETCHED * 16);
  return a;
}

/* Whether rows are read one after the other, as the machine itself follows them, for so many products that it has the
 * time: fetched, depthwise 5x5, 7x5 and 7x7 on 60x60 would take 1.05 to 1.15 times as long (Zen 4, one thread). */
enum { LONG_SUMS = 25 };

static int comes_by_itself(const ck_block *b) {
  const ck_axis *y = &b->d->source.axis[1];
  return b->in_place && y->step == y->tap_step && b->d->channels * ck_taps_of(b->taps) >= LONG_SUMS;
}

/* Whether of the rows from the first to the last most are not read. */
static int is_sparse(const ck_axis *y) {
  return y->stride == 0 && 2 * ck_min(y->taps, y->step / ck_max(1, ck_gcd(y->step, y->tap_step))) < y->step;
}

void ck_dense_set_ahead(ck_block *b) {
  const ck_dense *d = b->d;
  const int64_t *from = d->source.tensor.stride, *to = d->dst.stride, *size = b->box.size, *at = b->box.first;
  const int64_t item = d->kernels->real_size;
  b->fetches = is_far(d) && from[4] == item && to[4] == item && !comes_by_itself(b);
  if (!b->fetches)
    return;
  int64_t first = at[0] * from[0], last = first + item, to_first = at[0] * to[0], to_last = to_first + item;
  for (int i = 0; i < 3; i++) {
    const ck_axis *a = &d->source.axis[i];
    const int64_t step = ck_max(1, d->dst_step[i]), end = at[i + 1] + size[i + 1] - 1;
    const int64_t one = ck_axis_at(a, at[i + 1], 0), other = ck_axis_at(a, end, a->taps - 1);
    first += ck_max(0, ck_min(one, other)) * from[i + 2];
    last += ck_min(a->source - 1, ck_max(one, other)) * from[i + 2];
    to_first += at[i + 1] * step * to[i + 2];
    to_last += (d->dst_step[i] ? ck_min((end + 1) * step, d->dst_size[i]) - 1 : end) * to[i + 2];
  }
  b->ahead[0] = ahead_of(b, first, last, d->channels, from[1], from[0]);
  if (is_sparse(&d->source.axis[1]))
    b->ahead[0].rate = 0;
  b->ahead[1] = ahead_of(b, to_first, to_last, d->lanes, to[1], to[0]);
}

/* From the next group's planes on. */
static void begin_ahead(ck_block *b) {
  const ck_dense *d = b->d;
  const char *next[] = {d->source.tensor.data, d->dst.data};
  next[0] += (b->outer + 1) * d->channels * d->source.tensor.stride[1];
  next[1] += (b->outer + 1) * d->lanes * d->dst.stride[1];
  for (int i = 0; i < 2; i++) {
    b->ahead[i].at = next[i] + b->ahead[i].first;
    b->ahead[i].end = b->ahead[i].at + b->ahead[i].bytes;
    b->ahead[i].owed = 0;
  }
}

void ck_dense_multiply_plane(ck_block *b, const ck_tile *t, const ck_part *p) {
  const ck_dense *d = b->d;
  const ck_kernels *kernels = d->kernels;
  const ck_lane_runs *runs = &b->runs;
  const int64_t item = kernels->real_size;
  ck_plane plane = {.panel = p->panel,
                    .ko = p->ko,
                    .planes = p->taps->planes,
                    .taps_y = p->taps->down,
                    .taps_x = p->taps->across,
                    .rows = runs->axis == 3 ? b->box.size[2] : 1,
                    .columns = runs->lanes,
                    .s_row = p->taps->s_row,
                    .s_tap = p->taps->s_tap,
                    .add = p->accumulate,
                    .ahead = b->fetches ? b->ahead : NULL};
  if (p->k == 0 && !p->accumulate)
    memset(p->acc, 0, (size_t)b->p->acc_phase);
  if (b->straight)
    ck_dense_load_bias(b, t);
  if (b->fetches && p->taps == b->b.phase_taps)
    begin_ahead(b);
  for (int64_t r = 0; r < runs->runs && p->k > 0; r += plane.rows) {
    ck_finish finish;
    plane.s = b->data + b->b.ro[r * runs->outputs] * item;
    plane.to = p->acc + r * runs->row * item;
    plane.to_row = runs->row * item;
    if (b->straight) {
      finish = ck_dense_finish_at(b, t, r);
      plane.finish = &finish;
      plane.to = finish.dst;
      plane.to_row = d->dst.stride[3];
    }
    multiply_plane(b, &plane, p->taps);
    if (b->straight)
      ck_dense_activate_stored(d, plane.to, plane.to_row, plane.rows, runs->lanes);
  }
}
