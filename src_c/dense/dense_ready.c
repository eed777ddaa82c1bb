/* The caller's weights as panels: which taps a panel has and in which rows, and all panels laid ready ahead of tasks.
 */
#include "dense_ready.h"

#include <string.h>

#include "dense_plan.h"
#include "lines.h"

static int pack_weights(const ck_block *b, const ck_tile *t, const ck_kblock *kb, int64_t taps, char *panel) {
  ck_pack pack = {
      .panel = panel,
      .src = t->w + kb->channel * b->d->w_channel + b->b.w_base,
      .src_end = b->d->w_end,
      .ld = t->ld,
      .lanes = t->lanes,
      .lane_stride = t->w_lane,
      .nc = kb->channels,
      .c_stride = b->d->w_channel,
      .nt = taps,
      .t_off = b->b.w_off,
      .row = b->p->sorted ? b->b.row : NULL,
  };
  return b->d->kernels->pack(&pack);
}

static void take_tap(ck_buffers *u, int64_t count, int64_t w_off, int64_t index, int64_t phase) {
  if (count == 0)
    u->w_base = w_off;
  u->w_off[count] = w_off - u->w_base;
  u->tap[count] = (int32_t)index;
  u->tap_phase[count] = (int32_t)phase;
}

int64_t ck_dense_take_taps(ck_block *b, const ck_kblock *kb) {
  const ck_dense *d = b->d;
  int64_t count = 0, at[3];
  for (at[0] = 0; at[0] < kb->taps[0]; at[0]++) {
    int64_t z = kb->tap[0] + at[0], phase_z = ck_dense_phase_of(d, 0, z);
    for (at[1] = 0; at[1] < kb->taps[1]; at[1]++) {
      int64_t y = kb->tap[1] + at[1], phase_y = ck_dense_phase_of(d, 1, y);
      int64_t row = (phase_z * d->phases[1] + phase_y) * d->phases[2];
      if (phase_z >= d->phases[0] || phase_y >= d->phases[1] || row >= b->phase_end || row + d->phases[2] <= b->phase)
        continue;
      for (at[2] = 0; at[2] < kb->taps[2]; at[2]++) {
        int64_t x = kb->tap[2] + at[2], phase_x = ck_dense_phase_of(d, 2, x), phase = row + phase_x;
        if (phase_x >= d->phases[2] || phase < b->phase || phase >= b->phase_end)
          continue;
        int64_t w_off = z * d->w_tap[0] + y * d->w_tap[1] + x * d->w_tap[2];
        take_tap(&b->b, count++, w_off, (at[0] * kb->taps[1] + at[1]) * kb->taps[2] + at[2], phase - b->phase);
      }
    }
  }
  return count;
}

void ck_dense_set_rows(const ck_block *b, const ck_kblock *kb, int64_t taps) {
  const ck_buffers *u = &b->b;
  if (!b->p->sorted) {
    u->phase_start[0] = 0;
    u->phase_start[1] = (int32_t)(kb->channels * taps);
    return;
  }
  int64_t all = ck_taps_of(kb->taps), phases = b->phase_end - b->phase;
  memset(u->phase_start, 0, (size_t)(phases + 1) * sizeof *u->phase_start);
  for (int64_t t = 0; t < taps; t++)
    u->phase_start[u->tap_phase[t] + 1] += (int32_t)kb->channels;
  for (int64_t f = 0; f < phases; f++)
    u->phase_start[f + 1] += u->phase_start[f];
  for (int64_t c = 0; c < kb->channels; c++) {
    for (int64_t t = 0; t < taps; t++) { /* phase_start[f] runs ahead as rows are handed out */
      int32_t row = u->phase_start[u->tap_phase[t]]++;
      u->row[c * taps + t] = row;
      u->ko[row] = u->ko_all[c * all + u->tap[t]];
    }
  }
  for (int64_t f = phases; f > 0; f--)
    u->phase_start[f] = u->phase_start[f - 1];
  u->phase_start[0] = 0;
}

static int64_t panel_index(const ck_dense_plan *p, int64_t outer, int64_t tile, int64_t kblock) {
  return (outer * p->tiles + tile) * ck_reduction_count(&p->reduction) + kblock;
}

/* After all panels there is a byte for each: whether anything in it is not finite. */
static int64_t panel_count(const ck_dense_plan *p) { return p->outer * p->tiles * ck_reduction_count(&p->reduction); }

static void pack_panel(const ck_dense *d, const ck_dense_plan *p, void *scratch, int64_t index, char *panels) {
  ck_block b = {.d = d, .p = p, .phase_end = p->phases};
  ck_arena arena = {.base = scratch};
  const int64_t count = ck_reduction_count(&p->reduction), bytes = ck_dense_panel_bytes(d, p);
  ck_dense_place(d, p, &arena, &b.b);
  if (p->sorted)
    memset(b.b.ko_all, 0, (size_t)p->kmax * sizeof *b.b.ko_all);
  const ck_kblock kb = ck_reduction_block(&p->reduction, index % count);
  const ck_tile t = ck_dense_tile_at(d, p, index / count / p->tiles, index / count % p->tiles);
  const int64_t taps = ck_dense_take_taps(&b, &kb);
  ck_dense_set_rows(&b, &kb, taps);
  panels[panel_count(p) * bytes + index] = (char)pack_weights(&b, &t, &kb, taps, panels + index * bytes);
}

void ck_dense_pack(const ck_dense *d, const ck_dense_plan *p, void *scratch, char *panels) {
  if (d->arrangement == CK_LINES)
    ck_lines_pack(d, scratch, panels);
  else
    for (int64_t i = 0; i < panel_count(p); i++)
      pack_panel(d, p, scratch, i, panels);
}

/* Taps that follow one another are one run: the first one, and how many. `last`: the one before, or none yet. */
static void add_run(int32_t **last, int64_t first, int64_t count) {
  int32_t *run = *last;
  if (run[1] && run[0] + run[1] == first) {
    run[1] += (int32_t)count;
    return;
  }
  *last = run += run[1] ? 2 : 0;
  run[0] = (int32_t)first;
  run[1] = (int32_t)count;
}

/* The panel that lies ready has all phases, and so has the task: no panels lie ready where there are more phases than a
 * task takes (CK_TASK_PHASES). */
void ck_dense_set_picked(const ck_block *b, int64_t kblock) {
  const ck_buffers *u = &b->b;
  const ck_kblock all = ck_reduction_block(&b->p->reduction, kblock), *kb = &b->kblock;
  const int64_t *phases = b->d->phases;
  int64_t every[3], before[3], count[3][CK_TASK_PHASES] = {{0}}, row[CK_TASK_PHASES], plane[CK_TASK_PHASES];
  int32_t *to[CK_TASK_PHASES];
  for (int i = 0; i < 3; i++) {
    before[i] = kb->tap[i] - all.tap[i];
    every[i] = ck_max(1, ck_tapped_phases(&b->d->source.axis[i])); /* taps from one to the next of its phase */
    for (int64_t t = 0; t < ck_min(every[i], all.taps[i]); t++) {
      const int64_t f = ck_dense_phase_of(b->d, i, all.tap[i] + t);
      if (f < phases[i])
        count[i][f] = ck_ceil_div(all.taps[i] - t, every[i]);
    }
  }
  u->whole_start[0] = 0;
  for (int64_t f = 0; f < b->p->phases; f++) {
    row[f] = count[2][f % phases[2]];
    plane[f] = row[f] * count[1][f / phases[2] % phases[1]];
    const int64_t taps = plane[f] * count[0][f / phases[2] / phases[1]];
    u->whole_start[f + 1] = u->whole_start[f] + (int32_t)(all.channels * taps);
    to[f] = u->picked + 2 * (u->phase_start[f] / all.channels);
    to[f][1] = 0;
  }
  int64_t taken = 0, tap = 0;
  for (int64_t z = before[0]; z < before[0] + kb->taps[0]; z++) {
    for (int64_t y = before[1]; y < before[1] + kb->taps[1]; y++) {
      if (!b->p->sorted)
        add_run(&to[0], z * plane[0] + y * row[0] + before[2], kb->taps[2]);
      for (int64_t x = before[2]; x < before[2] + kb->taps[2] && b->p->sorted; x++, tap++) {
        if (taken == b->taken || u->tap[taken] != tap)
          continue;
        const int64_t f = u->tap_phase[taken++];
        add_run(&to[f], z / every[0] * plane[f] + y / every[1] * row[f] + x / every[2], 1);
      }
    }
  }
}

static void pick_rows(const ck_block *b, int64_t row, const char *from) {
  const ck_buffers *u = &b->b;
  const int64_t channels = b->kblock.channels;
  char *to = u->panel;
  for (int64_t f = 0; f < b->p->phases; f++) {
    const int64_t count = (u->phase_start[f + 1] - u->phase_start[f]) / channels;
    const int64_t channel = (u->whole_start[f + 1] - u->whole_start[f]) / channels * row;
    const char *src = from + u->whole_start[f] * row;
    for (int64_t c = 0; c < channels; c++, src += channel) {
      const int32_t *run = u->picked + 2 * (u->phase_start[f] / channels);
      for (int64_t done = 0; done < count; done += run[1], to += run[1] * row, run += 2)
        memcpy(to, src + run[0] * row, (size_t)(run[1] * row));
    }
  }
}

/* Weights that are to be packed next, for the register tiles to fetch. */
static void set_next(ck_block *b, int64_t tile) {
  const ck_tile t = ck_dense_tile_at(b->d, b->p, b->outer, tile);
  const int64_t k = b->kblock.channels * b->taken, item = b->d->kernels->real_size;
  b->next_panel = t.w + b->kblock.channel * b->d->w_channel + b->b.w_base;
  b->next_row = t.w_lane == item ? b->d->w_channel / b->taken : t.lanes * t.w_lane / k;
}

int ck_dense_set_panel(ck_block *b, const ck_tile *t, int64_t tile_index, int64_t kblock, int64_t next) {
  const ck_dense_plan *p = b->p;
  const char *panels = b->panels;
  const int64_t at = panel_index(p, b->outer, tile_index, kblock), bytes = ck_dense_panel_bytes(b->d, p);
  const int nonfinite = panels && panels[panel_count(p) * bytes + at];
  b->panel = b->b.panel;
  b->next_panel = panels ? panels + panel_index(p, b->outer, next, kblock + (next <= tile_index)) * bytes : NULL;
  b->next_row = 0;
  if (!panels && next > tile_index)
    set_next(b, next);
  if (!panels || (!b->whole && nonfinite)) {
    if (b->laid != at)
      b->laid_nonfinite = pack_weights(b, t, &b->kblock, b->taken, b->b.panel);
    b->laid = at;
    return b->laid_nonfinite;
  }
  if (b->whole)
    b->panel = panels + at * bytes;
  else
    pick_rows(b, t->ld * b->d->kernels->real_size, panels + at * bytes);
  b->laid = b->whole ? b->laid : -1;
  return nonfinite;
}

static void pack_task(ck_worker *worker, void *context, int64_t index) {
  const ck_dense_call *call = context;
  pack_panel(call->d, &call->plan, worker->scratch, index, call->packed);
}

ck_status ck_dense_pack_shared(ck_dense_call *call, const ck_run *run) {
  const ck_dense_plan *p = &call->plan;
  if (run->workspace_bytes < p->packed)
    return CK_WORKSPACE;
  call->panels = call->packed = run->workspace;
  return ck_parallel(panel_count(p), pack_task, call, run, call->packed + p->packed, p->bytes);
}
