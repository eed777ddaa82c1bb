/* Gradient descent: memory is all it waits for, so tasks are pieces that are long beside a team's start, of all arrays
 * as if they lay one after the other. */
#include "base/dispatch.h"
#include "base/geometry.h"
#include "base/parallel.h"

enum { PIECE = 1 << 16 };

typedef struct descent_calls {
  const ck_descent *calls;
  int64_t count;
} descent_calls;

static void run_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const descent_calls *p = context;
  int64_t begin = index * PIECE; /* of the piece, from the start of a call */
  for (int64_t i = 0; i < p->count && begin + PIECE > 0; i++) {
    const ck_descent *call = &p->calls[i];
    const int64_t first = ck_max(begin, 0), end = ck_min(begin + PIECE, call->count);
    if (first < end)
      call->kernels->descend(call, first, end - first);
    begin -= call->count;
  }
}

ck_status ck_descent_run(const ck_descent *calls, int64_t count, const ck_run *run) {
  descent_calls p = {.calls = calls, .count = count};
  int64_t all = 0;
  for (int64_t i = 0; i < count; i++)
    all += calls[i].count;
  return ck_parallel(ck_ceil_div(all, PIECE), run_task, &p, run, NULL, 0);
}
