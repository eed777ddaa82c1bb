/* Folding a block along one axis.
 *
 * Lines of positions lie one after the other, and what is neutral at one's end may be the next one's beginning. So
 * where windows move on by one position, all lines are folded as if they were one, a little in vain between them; and
 * windows that overlap much are folded out of those of 1, 2, 4, ... taps at every position: two of them next to each
 * other make one of twice as many, and those that the binary digits of the taps name, one after the other, are the
 * window. The order of the taps stays, and a sum of n taps has at most 2 * log2(n) roundings between any of them and
 * the result.
 */
#include "pool_fold.h"

/* Lines are folded as one unless more than an eighth would be in vain. */
static int joined(const ck_pool_axis *a, const ck_pool_span *s) {
  return !a->irregular && a->step == 1 && (s->length - s->n) * 8 <= s->n;
}

int ck_pool_needs_lines(const ck_pool_block *t) {
  const ck_pool_axis *a = &t->p->axis[2];
  return a->by_powers || (!t->p->fused && joined(a, &t->span[2]));
}

void ck_pool_block_set(ck_pool_block *t, const int64_t tap[3]) {
  const ck_pool_plan *p = t->p;
  for (int d = 0; d < 3; d++) {
    const ck_pool_axis *a = &p->axis[d];
    ck_pool_span *s = &t->span[d];
    s->first = t->b.first[d];
    s->count = t->b.count[d];
    ck_pool_span_set(s, a, t->box.first[d + 1], t->box.size[d + 1], tap[d]);
    for (int64_t i = 0; a->irregular && a->by_powers && i < s->n; i++) /* the first `least` are folded into one */
      s->count[i] -= s->count[i] > 0 ? (int32_t)(s->least - 1) : 0;
  }
  const ck_pool_span *x = &t->span[2], *y = &t->span[1];
  t->nan = 0;
  t->row = t->plane = x->n * t->inner;
  if (!p->fused && (p->split || joined(&p->axis[2], x)))
    t->row = p->split ? x->length / 2 : x->length * t->inner;
  t->plane = (p->fused ? y->length / p->axis[1].step : joined(&p->axis[1], y) ? y->length : y->n) * t->row;
}

/* ---------------------------------------------------------------- windows by powers of two */

/* A tap, or none, and one that lies `offset` taps of `step` after it in `other`. */
static void set_pair(ck_pool_fold *f, const char *src, const char *other, int64_t offset, int64_t step, int64_t code) {
  f->src = src;
  f->taps = 2;
  f->tap_step = other + offset * step - src;
  f->code_step = offset * code;
}

/* Makes two taps of the first `taps` > 2 of f, with the same result, at the first `all` elements less those that the
 * last tap needs; neighbouring taps lie `reach` elements apart. */
static void fold_powers(ck_pool_block *t, ck_pool_fold *f, int64_t taps, int64_t all, int64_t reach) {
  const ck_kernels *k = t->p->k;
  const int64_t step = f->tap_step, code = f->code_step;
  const char *raw = f->src, *source = raw; /* windows of `power` taps */
  char *sum = NULL;                        /* the first `done` taps */
  ck_pool_fold g = *f;
  g.lines = g.groups = 1;
  for (int64_t power = 1, done = 0;; power *= 2) {
    f->coded = g.coded = f->coded || (f->indexed && source != raw);
    if (sum && done + power == taps) {
      set_pair(f, sum, source, done, step, code);
      return;
    }
    if (!sum && 2 * power == taps) {
      set_pair(f, source, source, power, step, code);
      return;
    }
    if (taps & power) {
      set_pair(&g, sum ? sum : source, source, done, step, code);
      g.taps = sum ? 2 : 1;
      g.dst = sum = t->b.work[1];
      g.length = all - (taps - 1) * reach;
      k->pool_fold(&g);
      done += power;
    }
    set_pair(&g, source, source, power, step, code);
    g.dst = t->b.work[0];
    g.length = all - (2 * power - 1) * reach;
    k->pool_fold(&g);
    source = g.dst;
  }
}

/* ---------------------------------------------------------------- one axis */

/* Where the taps of a row that is split lie: in either half by turns. */
static void set_offsets(ck_pool_block *t, ck_pool_fold *f) {
  const ck_pool_plan *p = t->p;
  for (int64_t i = 0; i < f->taps; i++) {
    int64_t position = i * p->axis[2].tap_step;
    t->b.offset[i] = (position / 2 + position % 2 * t->b.odd) * p->k->real_size;
  }
  f->offset = t->b.offset;
}

/* Rows of windows at once. */
static void set_rows(const ck_pool_block *t, ck_pool_fold *f) {
  const ck_pool_axis *a = &t->p->axis[1];
  f->rows = t->span[1].taps;
  f->row_step = a->tap_step * f->src_line;
  f->row_code = t->code[1];
  f->src_line *= a->step;
}

/* A gradient's row: results that are a stride apart are folded out of neighbours, all in the same way. */
static void fold_phases(const ck_pool_block *t, ck_pool_fold f, const ck_pool_span *s) {
  const ck_kernels *k = t->p->k;
  const int64_t item = k->real_size, phases = ck_min(t->p->axis[2].stride, s->n);
  char *dst = f.dst;
  f.length = ck_ceil_div(s->n, phases);
  f.dst = t->b.phases;
  f.dst_line = f.length * item;
  const char *src = f.src;
  for (int64_t i = 0; i < phases; i++, f.dst += f.lines * f.dst_line) {
    f.src = src + s->first[i] * item;
    f.taps = s->count[i];
    k->pool_fold(&f);
  }
  k->pool_join(dst, t->b.phases, phases, f.lines, s->n);
}

/* By powers all of so many taps; where some results have one more, that of each comes after them. */
static void fold_most(ck_pool_block *t, ck_pool_fold *f, int64_t taps, int one_more, int64_t all, int64_t reach) {
  const char *src = f->src;
  if (taps > 2)
    fold_powers(t, f, taps, all, reach);
  if (!one_more || taps < 2)
    return;
  ck_pool_fold g = *f;
  g.taps = 2;
  g.lines = 1;
  g.length = all - (taps - 1) * reach;
  g.dst = t->b.work[1];
  t->p->k->pool_fold(&g);
  set_pair(f, g.dst, src, taps, reach * t->p->k->real_size, 0);
}

void ck_pool_fold_axis(ck_pool_block *t, int d, const char *src, int64_t src_line, int64_t lines, int64_t inner,
                       char *dst) {
  const ck_pool_plan *p = t->p;
  const ck_pool_axis *a = &p->axis[d];
  const ck_pool_span *s = &t->span[d];
  const int64_t item = p->k->real_size, reach = a->tap_step * inner, all = ((lines - 1) * s->length + s->hull) * inner;
  const int halves = d == 2 && p->split;
  ck_pool_fold f = {.op = !p->max  ? CK_POOL_SUM
                          : t->nan ? CK_POOL_LARGER_OR_NAN
                                   : CK_POOL_LARGER,
                    .indexed = p->indexed,
                    .coded = p->indexed && d < 2,
                    .lines = lines,
                    .groups = 1,
                    .length = s->n * inner,
                    .src = src,
                    .src_line = src_line,
                    .taps = s->taps,
                    .tap_step = reach * item,
                    .dst = dst,
                    .dst_line = s->n * inner * item,
                    .dst_group = inner * item,
                    .codes = t->b.codes,
                    .code_step = t->code[d]};
  if (a->by_powers)
    fold_most(t, &f, a->irregular ? s->least : s->taps, a->irregular, all, reach);
  if (halves)
    set_offsets(t, &f);
  if (d == 2 && p->fused)
    set_rows(t, &f);
  else if (halves || joined(a, s)) {
    f.lines = 1;
    f.length += (lines - 1) * (halves ? s->length / 2 : s->length * inner);
  }
  if (ck_pool_in_phases(p) && d == 2) {
    fold_phases(t, f, s);
    return;
  }
  if (!halves && (a->irregular || a->step > 1)) {
    f.groups = s->n;
    f.length = inner;
    f.src_group = a->step * inner * item;
    f.first = a->irregular ? s->first : NULL;
    f.count = a->irregular ? s->count : NULL;
  }
  p->k->pool_fold(&f);
}
