/* A program: prepared calls, one after the other, on memory that each run brings. */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/parallel.h"

typedef union any_call {
  ck_conv conv;
  ck_deform deform;
  ck_pool pool;
  ck_resize resize;
  ck_grid_sample grid;
  ck_elementwise elementwise;
  ck_channels channels;
  ck_rows rows;
  ck_normal normal;
} any_call;

static ck_run *run_of(int kind, any_call *call) {
  switch (kind) {
  case CK_STEP_CONV:
    return &call->conv.run;
  case CK_STEP_DEFORM:
    return &call->deform.conv.run;
  case CK_STEP_POOL:
    return &call->pool.run;
  case CK_STEP_RESIZE:
    return &call->resize.run;
  case CK_STEP_GRID:
    return &call->grid.run;
  case CK_STEP_CHANNELS:
    return &call->channels.run;
  case CK_STEP_ROWS:
    return &call->rows.run;
  case CK_STEP_NORMAL:
    return &call->normal.arrays.run;
  default:
    return &call->elementwise.run;
  }
}

static ck_status run_call(int kind, int op, any_call *call) {
  switch (kind) {
  case CK_STEP_CONV:
    return ck_conv_run(&call->conv, (ck_conv_op)op);
  case CK_STEP_DEFORM:
    return ck_deform_run(&call->deform, 0);
  case CK_STEP_POOL:
    return ck_pool_run(&call->pool, (ck_pool_op)op);
  case CK_STEP_RESIZE:
    return ck_resize_run(&call->resize, (ck_resize_op)op);
  case CK_STEP_GRID:
    return ck_grid_run(&call->grid, (ck_grid_op)op);
  case CK_STEP_CHANNELS:
    return ck_channels_run(&call->channels);
  case CK_STEP_ROWS:
    return ck_rows_run(&call->rows);
  case CK_STEP_NORMAL:
    return ck_normal_forward(&call->normal);
  default:
    return ck_elementwise_run(&call->elementwise);
  }
}

static size_t call_bytes(int kind) {
  static const size_t bytes[] = {
      [CK_STEP_CONV] = sizeof(ck_conv),         [CK_STEP_DEFORM] = sizeof(ck_deform),
      [CK_STEP_POOL] = sizeof(ck_pool),         [CK_STEP_RESIZE] = sizeof(ck_resize),
      [CK_STEP_GRID] = sizeof(ck_grid_sample),  [CK_STEP_ELEMENTWISE] = sizeof(ck_elementwise),
      [CK_STEP_CHANNELS] = sizeof(ck_channels), [CK_STEP_ROWS] = sizeof(ck_rows),
      [CK_STEP_NORMAL] = sizeof(ck_normal),
  };
  return bytes[kind];
}

static void set_place(any_call *call, const ck_place *place, char *const *bases, int64_t turn) {
  char *data = bases[place->base] + place->offset + turn * place->step;
  memcpy((char *)call + place->field, &data, sizeof data);
}

/* The call that was prepared, to be run in this way by as many threads as it was prepared for. */
static any_call begun(const ck_step *step, const ck_run *run) {
  any_call call;
  memcpy(&call, step->call, call_bytes(step->kind));
  ck_run *own = run_of(step->kind, &call);
  const int threads = own->threads;
  *own = *run;
  own->threads = threads;
  return call;
}

static ck_status run_turn(const ck_step *step, any_call *call, char *const *bases, int64_t turn) {
  for (int i = 0; i < step->places; i++)
    set_place(call, &step->place[i], bases, turn);
  return run_call(step->kind, step->op, call);
}

typedef struct turns {
  const ck_step *step;
  char *const *bases;
  const ck_run *run;
  atomic_int status;
} turns;

/* The caller's thread polls within its turns, too. */
static void run_alone(ck_worker *worker, void *context, int64_t turn) {
  turns *p = context;
  ck_run run = *p->run;
  run.workspace = worker->scratch;
  run.workspace_bytes = p->step->workspace;
  if (worker->tid != 0)
    run.poll = NULL;
  if (atomic_load_explicit(&p->status, memory_order_relaxed) != CK_OK)
    return;
  any_call call = begun(p->step, &run);
  const ck_status status = run_turn(p->step, &call, p->bases, turn);
  if (status != CK_OK)
    atomic_store_explicit(&p->status, status, memory_order_relaxed);
}

/* Turns of calls for one thread, several at a time: small products end sooner than threads could share one. */
static ck_status run_side_by_side(const ck_step *step, char *const *bases, const ck_run *run) {
  turns p = {.step = step, .bases = bases, .run = run};
  ck_run team = *run;
  team.threads = step->apart;
  const ck_status status = ck_parallel(step->times, run_alone, &p, &team, team.workspace, step->workspace);
  return status == CK_OK ? (ck_status)atomic_load_explicit(&p.status, memory_order_relaxed) : status;
}

static ck_status run_step(const ck_step *step, char *const *bases, const ck_run *run) {
  if (step->apart)
    return run_side_by_side(step, bases, run);
  any_call call = begun(step, run);
  for (int64_t turn = 0; turn < step->times; turn++) {
    const ck_status status = run_turn(step, &call, bases, turn);
    if (status != CK_OK)
      return status;
  }
  return CK_OK;
}

ck_status ck_program_run(const ck_step *steps, int64_t count, char *const *bases, const ck_run *run, double *seconds) {
  int64_t polled = ck_nanoseconds(), before = polled;
  for (int64_t i = 0; i < count; i++) {
    ck_status status = run_step(&steps[i], bases, run);
    if (status != CK_OK)
      return status;
    const int64_t now = ck_nanoseconds();
    if (seconds)
      seconds[i] = (double)(now - before) * 1e-9;
    before = now;
    if (run->poll && now - polled >= CK_POLL_NANOSECONDS) { /* calls that are shorter never ask by themselves */
      if (run->poll())
        return CK_INTERRUPTED;
      polled = before = ck_nanoseconds();
    }
  }
  return CK_OK;
}
