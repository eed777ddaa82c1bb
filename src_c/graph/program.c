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

typedef struct turn {
  char *const *bases;
  char *room;
  int64_t at[CK_TURN_AXES];
} turn;

static void set_place(any_call *call, const ck_place *place, const turn *of) {
  char *data = place->base == CK_FIXED  ? (char *)(uintptr_t)place->offset
               : place->base == CK_ROOM ? of->room + place->offset
                                        : of->bases[place->base] + place->offset;
  for (int d = 0; d < CK_TURN_AXES; d++)
    data += of->at[d] * place->step[d];
  memcpy((char *)call + place->field, &data, sizeof data);
}

/* The call that was prepared, run in this way by as many threads as it was prepared for. */
static ck_status run_step(const ck_step *step, const turn *of, const ck_run *run) {
  any_call call;
  memcpy(&call, step->call, call_bytes(step->kind));
  ck_run *own = run_of(step->kind, &call);
  const int threads = own->threads;
  *own = *run;
  own->threads = threads;
  for (int i = 0; i < step->places; i++)
    set_place(&call, &step->place[i], of);
  return run_call(step->kind, step->op, &call);
}

typedef struct turns {
  const ck_step *step;
  char *const *bases;
  const ck_run *run;
  atomic_int status;
} turns;

/* One turn, with its room before the calls' workspace. */
static ck_status run_turn(const turns *p, char *memory, ck_run run, int64_t index) {
  turn of = {.bases = p->bases, .room = memory};
  for (int d = CK_TURN_AXES - 1; d >= 0; d--) {
    of.at[d] = index % p->step->size[d];
    index /= p->step->size[d];
  }
  run.workspace = memory + p->step->room;
  run.workspace_bytes = p->step->workspace;
  ck_status status = CK_OK;
  for (int i = 1; i <= p->step->behind && status == CK_OK; i++)
    status = run_step(p->step + i, &of, &run);
  return status;
}

/* The caller's thread polls within its turns, too. */
static void run_alone(ck_worker *worker, void *context, int64_t index) {
  turns *p = context;
  ck_run run = *p->run;
  if (worker->tid != 0)
    run.poll = NULL;
  if (atomic_load_explicit(&p->status, memory_order_relaxed) != CK_OK)
    return;
  const ck_status status = run_turn(p, worker->scratch, run, index);
  if (status != CK_OK)
    atomic_store_explicit(&p->status, status, memory_order_relaxed);
}

/* Calls for one thread, several at a time: small ones end sooner than threads could share one. */
static ck_status run_turns(const ck_step *step, char *const *bases, const ck_run *run) {
  turns p = {.step = step, .bases = bases, .run = run};
  if (step->apart) {
    ck_run team = *run;
    team.threads = step->apart;
    const ck_status status =
        ck_parallel(step->times, run_alone, &p, &team, team.workspace, step->room + step->workspace);
    return status == CK_OK ? (ck_status)atomic_load_explicit(&p.status, memory_order_relaxed) : status;
  }
  ck_status status = CK_OK;
  for (int64_t i = 0; i < step->times && status == CK_OK; i++)
    status = run_turn(&p, run->workspace, *run, i);
  return status;
}

ck_status ck_program_run(const ck_step *steps, int64_t count, char *const *bases, const ck_run *run, double *seconds) {
  const turn once = {.bases = bases};
  int64_t polled = ck_nanoseconds(), before = polled;
  for (int64_t i = 0; i < count; i += 1 + steps[i].behind) {
    const ck_step *step = &steps[i];
    ck_status status = step->kind == CK_STEP_TURNS ? run_turns(step, bases, run) : run_step(step, &once, run);
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
