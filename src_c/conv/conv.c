/* The entry points of the convolution family: which driver a call goes to, what it needs, what it would do. */
#include "col2im.h"
#include "conv_dense.h"
#include "dense/dense_plan.h"
#include "dense/dense_ready.h"
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
      return ck_col2im_grad_x(call, op == CK_TRANSPOSED, bytes);
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
  if (op == CK_FORWARD || op == CK_TRANSPOSED_GRAD_X) {
    *d = ck_conv_forward_dense(call, op == CK_TRANSPOSED_GRAD_X);
    return 1;
  }
  if ((op != CK_GRAD_X && op != CK_TRANSPOSED) || call->algorithm == CK_IM2COL)
    return 0;
  *d = ck_conv_inside_dense(call, op == CK_TRANSPOSED);
  call->run.threads = ck_conv_region_threads(call, d);
  return 1;
}

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
  if (ck_conv_is_winograd(&here, &d)) {
    const ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    return (ck_panels){.kind = ck_winograd_kind(&plan), .bytes = ck_winograd_panels(&d, &plan)};
  }
  const ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
  return (ck_panels){.kind = d.arrangement, .bytes = ck_dense_panels(&d, &plan)};
}

void ck_conv_pack(const ck_conv *call, ck_conv_op op, void *panels) {
  ck_conv here = sized(call, op);
  ck_dense d;
  one_dense(&here, op, &d);
  if (ck_conv_is_winograd(&here, &d)) {
    const ck_winograd_plan plan = ck_winograd_make_plan(&d, &here.run);
    ck_winograd_pack(&d, &plan, here.run.workspace, panels);
  } else {
    const ck_dense_plan plan = ck_dense_make_plan(&d, &here.run);
    ck_dense_pack(&d, &plan, here.run.workspace, panels);
  }
}

ck_status ck_conv_workspace(const ck_conv *call, ck_conv_op op, int64_t *bytes) {
  ck_conv here = sized(call, op);
  *bytes = 0;
  return writes_nothing(call, op) ? CK_OK : route(&here, op, bytes);
}

static void explain_winograd(const ck_conv *call, ck_dense *d, ck_explanation *e) {
  const ck_winograd_plan plan = ck_winograd_make_plan(d, &call->run);
  e->chosen = plan.cycles;
  for (int i = 0; i < 4; i++)
    e->block[i] = ck_grid_largest(&plan.grid, i) * (i < 2 ? 1 : CK_WINOGRAD_TILE);
  e->channels = ck_min(plan.chunk, d->channels);
  e->lanes = ck_min(plan.direct.tile_lanes, d->lanes);
  e->tasks = plan.tasks;
  e->shared_weights = plan.weight_bytes;
  e->shared_inputs = plan.input_bytes;
  e->rounds = plan.round ? ck_ceil_div(plan.boxes, plan.round) : 0;
}

static ck_reads what_is_read(const ck_dense *d) {
  if (d->source.order == CK_COLUMNS)
    return CK_READS_COLUMNS;
  return d->in_place ? CK_READS_INPUT : CK_READS_WINDOW;
}

static void explain_dense(const ck_conv *call, ck_dense *d, ck_explanation *e) {
  for (int i = 0; i < CK_ARRANGEMENTS; i++)
    e->cycles[i] = ck_dense_cycles(d, i, &call->run);
  ck_dense_plan plan = ck_dense_make_plan(d, &call->run);
  if (plan.tasks == 0) /* of an image without elements, which is not cut */
    return;
  const ck_kblock kb = ck_reduction_largest(&plan.reduction);
  const int groups = d->arrangement == CK_BY_GROUP || d->arrangement == CK_LINES;
  e->arrangement = d->arrangement;
  e->reads = what_is_read(d);
  e->chosen = plan.cycles;
  for (int i = 0; i < 4; i++)
    e->block[i] = ck_grid_largest(&plan.grid, i);
  e->channels = kb.channels;
  e->lanes = ck_min(plan.tile_lanes, groups ? d->groups : d->lanes);
  e->tasks = plan.tasks;
  e->shared_weights = plan.packed;
  e->patches = ck_max(1, plan.patching.most);
}

ck_status ck_conv_explain(const ck_conv *call, ck_conv_op op, ck_explanation *e) {
  ck_conv here = sized(call, op);
  ck_dense d;
  *e = (ck_explanation){.algorithm = here.algorithm, .arrangement = -1, .patches = 1};
  if (!writes_nothing(call, op) && one_dense(&here, op, &d)) {
    if (ck_conv_is_winograd(&here, &d))
      explain_winograd(&here, &d, e);
    else
      explain_dense(&here, &d, e);
  }
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
