/* Gradient descent: memory is all it waits for, so tasks are pieces that are long beside a team's start. */
#include "base/dispatch.h"
#include "base/geometry.h"
#include "base/parallel.h"

enum { PIECE = 1 << 16 };

static void run_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const ck_descent *call = context;
  int64_t first = index * PIECE;
  call->kernels->descend(call, first, ck_min(PIECE, call->count - first));
}

ck_status ck_descent_run(const ck_descent *call) {
  return ck_parallel(ck_ceil_div(call->count, PIECE), run_task, (void *)call, &call->run, NULL, 0);
}
