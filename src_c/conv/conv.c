/* The entry points of the convolution family: which driver a call goes to, what it needs, what it would do. */
#include "base/cpu.h"
#include "conv_dense.h"
#include "dense/dense_plan.h"
#include "dense/dense_run.h"
#include "dense/lines.h"
#include "dense/sheets.h"
#include "dense/winograd.h"
#include "grad_weight.h"
#include "im2col.h"

static ck_status route(const ck_conv *call, ck_conv_op op, int64_t *bytes) {
  switch (op) {
  case CK_FORWARD:
  case CK_TRANSPOSED_GRAD_X:
    return ck_conv_forward(call, op == CK_TRANSPOSED_GRAD_X, bytes);
  case CK_GRAD_X:
  case CK_TRANSPOSED:
    if (call->algorithm == CK_IM2COL)
      return ck_im2col_grad_x(call, op == CK_TRANSPOSED, bytes);
    return ck_conv_grad_x(call, op == CK_TRANSPOSED, bytes);
  case CK_GRAD_WEIGHT:
  case CK_TRANSPOSED_GRAD_WEIGHT:
    return ck_conv_grad_weight(call, op == CK_TRANSPOSED_GRAD_WEIGHT, bytes);
  case CK_IM2COL_OP:
    return ck_im2col(call, bytes);
  case CK_COL2IM_OP:
    return ck_col2im(call, bytes);
  }
  return CK_UNSUPPORTED;
}

/* Where there is nothing to write there is nothing to do, however many images or groups of nothing there are. */
static int writes_nothing(const ck_conv *call, ck_conv_op op) {
  const ck_conv_shape *s = &call->shape;
  int no_x = s->groups == 0 || s->c_in == 0, no_y = s->groups == 0 || s->c_out == 0;
  switch (op) {
  case CK_FORWARD:
  case CK_TRANSPOSED_GRAD_X:
    return s->n == 0 || no_y;
  case CK_GRAD_X:
  case CK_TRANSPOSED:
  case CK_COL2IM_OP:
  case CK_IM2COL_OP:
    return s->n == 0 || no_x;
  case CK_GRAD_WEIGHT: /* without images, zeros */
    return no_y;
  case CK_TRANSPOSED_GRAD_WEIGHT:
    return no_x;
  }
  return 0;
}

/* The call with its algorithm named, and with the threads that it is worth. */
static ck_conv sized(const ck_conv *call, ck_conv_op op) {
  ck_conv here = *call;
  if (call->algorithm == CK_AUTO)
    here.algorithm = ck_conv_rule(&call->shape, op);
  here.run.threads = ck_conv_threads(call, call->shape.out);
  return here;
}

/* The one correlation that a call is, or its main one where padding is folded; 0 if it is none. */
static int one_dense(ck_conv *call, ck_conv_op op, ck_dense *d) {
  const ck_conv_shape *s = &call->shape;
  if (op == CK_FORWARD || op == CK_TRANSPOSED_GRAD_X) {
    *d = ck_conv_forward_dense(call, op == CK_TRANSPOSED_GRAD_X);
    return 1;
  }
  if ((op != CK_GRAD_X && op != CK_TRANSPOSED) || call->algorithm == CK_IM2COL)
    return 0;
  int64_t hi[3];
  for (int i = 0; i < 3; i++)
    hi[i] = s->pad_lo[i] + s->in[i];
  *d = ck_conv_region_dense(call, op == CK_TRANSPOSED, s->pad_lo, hi, 0);
  call->run.threads = ck_conv_region_threads(call, d);
  return 1;
}

/* Transformed weights of more than half the last cache would come from memory: a task's own transform is faster. */
static int64_t kept_bytes(int64_t bytes) { return bytes <= ck_cpu_cache(3) / 2 ? bytes : 0; }

/* Panels lack the taps of phases that an output narrower than the stride does not have, and a wider one does. */
static int has_all_phases(const ck_dense *d) {
  const ck_axis *axis = d->source.axis;
  return d->phases[0] >= axis[0].stride && d->phases[1] >= axis[1].stride && d->phases[2] >= axis[2].stride;
}

ck_panels ck_conv_panels(const ck_conv *call, ck_conv_op op) {
  ck_conv here = sized(call, op);
  ck_dense d;
  if (writes_nothing(call, op) || !one_dense(&here, op, &d) || !has_all_phases(&d))
    return (ck_panels){0};
  ck_panels panels = {.kind = ck_conv_way(&here, &d, &here.run)};
  switch ((ck_way)panels.kind) {
  case CK_WAY_WINOGRAD: {
    ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    panels.bytes = kept_bytes(ck_winograd_panels(&d, &plan));
    break;
  }
  case CK_WAY_LINES:
    panels.bytes = ck_lines_panels(&d);
    break;
  case CK_WAY_SHEETS: /* nine weights a plane, which need no preparation */
    break;
  case CK_WAY_DENSE: {
    ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
    panels = (ck_panels){.kind = d.arrangement, .bytes = ck_dense_panels(&d, &plan)};
  }
  }
  return panels;
}

void ck_conv_pack(const ck_conv *call, ck_conv_op op, void *panels) {
  ck_conv here = sized(call, op);
  ck_dense d;
  one_dense(&here, op, &d);
  switch (ck_conv_way(&here, &d, &here.run)) {
  case CK_WAY_WINOGRAD: {
    ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    ck_winograd_pack(&d, &plan, here.run.workspace, panels);
    break;
  }
  case CK_WAY_LINES:
    ck_lines_pack(&d, &here.run, panels);
    break;
  case CK_WAY_SHEETS:
    break;
  case CK_WAY_DENSE: {
    ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
    ck_dense_pack(&d, &plan, here.run.workspace, panels);
  }
  }
}

ck_status ck_conv_workspace(const ck_conv *call, ck_conv_op op, int64_t *bytes) {
  ck_conv here = sized(call, op);
  *bytes = 0;
  return writes_nothing(call, op) ? CK_OK : route(&here, op, bytes);
}

static void explain_winograd(const ck_conv *call, const ck_dense *d, ck_explanation *e) {
  const ck_winograd_plan plan = ck_winograd_make_plan(d, &call->run);
  e->chosen = plan.cycles;
  for (int i = 0; i < 4; i++)
    e->block[i] = ck_grid_largest(&plan.grid, i) * (i < 2 ? 1 : CK_WINOGRAD_TILE);
  e->channels = ck_min(plan.chunk, d->channels);
  e->lanes = ck_min(plan.direct.tile_lanes, d->lanes);
  e->tasks = plan.tasks;
}

static void explain_cycles(const ck_conv *call, const ck_dense *d, ck_explanation *e) {
  for (int i = 0; i < CK_ARRANGEMENTS; i++)
    e->cycles[i] = ck_dense_cycles(d, i, &call->run);
}

static void explain_dense(const ck_conv *call, ck_dense *d, ck_explanation *e) {
  explain_cycles(call, d, e);
  ck_dense_plan plan = ck_dense_make_plan(d, &call->run);
  if (plan.tasks == 0) /* of an image without elements, which is not cut */
    return;
  const ck_kblock kb = ck_reduction_largest(&plan.reduction);
  e->arrangement = d->arrangement;
  e->chosen = plan.cycles;
  for (int i = 0; i < 4; i++)
    e->block[i] = ck_grid_largest(&plan.grid, i);
  e->channels = kb.channels;
  e->lanes = ck_min(plan.tile_lanes, d->arrangement == CK_BY_GROUP ? d->groups : d->lanes);
  e->tasks = plan.tasks;
}

/* How a correlation is cut. */
static void explain(const ck_conv *call, ck_dense *d, ck_explanation *e) {
  switch (ck_conv_way(call, d, &call->run)) {
  case CK_WAY_WINOGRAD:
    explain_winograd(call, d, e);
    break;
  case CK_WAY_LINES: /* by group, and not planned */
    e->arrangement = CK_BY_GROUP;
    ck_lines_explain(d, &call->run, e);
    break;
  case CK_WAY_SHEETS: /* by channel, and not planned */
    explain_cycles(call, d, e);
    e->sheets = 1;
    e->arrangement = CK_BY_CHANNEL;
    e->chosen = e->cycles[CK_BY_CHANNEL] = ck_sheets_cycles(d, &call->run);
    ck_sheets_explain(d, &call->run, e);
    break;
  case CK_WAY_DENSE:
    explain_dense(call, d, e);
  }
}

ck_status ck_conv_explain(const ck_conv *call, ck_conv_op op, ck_explanation *e) {
  ck_conv here = sized(call, op);
  ck_dense d;
  *e = (ck_explanation){.algorithm = here.algorithm, .arrangement = -1};
  if (!writes_nothing(call, op) && one_dense(&here, op, &d))
    explain(&here, &d, e);
  e->threads = here.run.threads;
  return ck_conv_workspace(call, op, &e->workspace);
}

ck_status ck_conv_run(const ck_conv *call, ck_conv_op op) {
  ck_conv here = sized(call, op);
  if (ck_conv_supports(&call->shape, call->algorithm) != CK_OK)
    return CK_UNSUPPORTED;
  return writes_nothing(call, op) ? CK_OK : route(&here, op, NULL);
}

_Static_assert((int)CK_ARRANGEMENTS <= (int)CK_MOST_ARRANGEMENTS, "an explanation has room for all");
