/* The peak of this machine as it is now: what the threads reach together, in the best of many short rounds.
 *
 * A round is the same burst on every thread, timed from before the first to after the last, so nobody's waiting is left
 * out: timing threads one by one would overstate a machine whose cores share power, pipes or a memory bus.  The best
 * round is the one that no interrupt and no neighbour disturbed. */

#include "dispatch.h"

#include <stdatomic.h>
#include <string.h>

#include "clock.h"
#include "geometry.h"
#include "parallel.h"

/* Long beside the microseconds of a team's start and end, short beside the time slices of whatever else runs here. */
static const double burst_seconds = 1e-3;

static double now(void) { return 1e-9 * (double)ck_nanoseconds(); }

/* Seconds of the best round, of at least three, out of all that start within `seconds`. */
static double best_round(ck_task burst, void *context, int threads, double seconds) {
  const ck_run run = {.threads = threads};
  double begin = now(), best = 0;
  for (int round = 0; round < 3 || now() - begin < seconds; round++) {
    double start = now();
    ck_parallel(threads, burst, context, &run, NULL, 0);
    double taken = now() - start;
    if (round == 0 || taken < best)
      best = taken;
  }
  return best;
}

/* ------------------------------------------------------------------ multiply-adds */

typedef struct fma_context {
  const ck_peak_kernels *kernels;
  int64_t iterations;
} fma_context;

static void fma_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker, (void)index;
  const fma_context *c = context;
  _Alignas(64) char sink[CK_PEAK_SINK] = {0};
  c->kernels->fma(c->iterations, sink);
}

double ck_measure_fma(int dtype, int threads, double seconds) {
  fma_context c = {&ck_kernels_for(dtype)->peak, 1024};
  double taken;
  while ((taken = best_round(fma_task, &c, 1, 0)) < burst_seconds / 4)
    c.iterations *= 2;
  c.iterations = (int64_t)((double)c.iterations * burst_seconds / taken);
  double flops = (double)c.kernels->fma_flops * (double)c.iterations * threads;
  return flops / best_round(fma_task, &c, threads, seconds);
}

static int64_t nanoseconds_of(void (*loop)(int64_t, void *), void *sink) {
  const int64_t start = ck_nanoseconds();
  loop(256, sink);
  return ck_nanoseconds() - start;
}

/* A chain takes a multiply-add's latency, which is 4 or 5 cycles, for each; independent ones take a cycle each with one
 * pipe. At the first of several times the vectors' upper halves may yet have to wake up. */
static int measured_pipes(const ck_kernels *kernels) {
  _Alignas(64) char sink[CK_PEAK_SINK] = {0};
  int64_t chain = INT64_MAX, burst = INT64_MAX;
  for (int i = 0; i < 8; i++) {
    chain = ck_min(chain, nanoseconds_of(kernels->peak.fma_chain, sink));
    burst = ck_min(burst, nanoseconds_of(kernels->peak.fma, sink));
  }
  return chain > 6 * burst ? 2 : 1;
}

int ck_fma_per_cycle(const ck_kernels *kernels) {
  static atomic_int known[CK_ISAS];
  int pipes = 0;
  if (atomic_load_explicit(&known[kernels->isa], memory_order_relaxed) == 0)
    atomic_compare_exchange_strong(&known[kernels->isa], &pipes, measured_pipes(kernels));
  return atomic_load_explicit(&known[kernels->isa], memory_order_relaxed);
}

/* ------------------------------------------------------------------ triad */

enum { LINE = 64 };

typedef struct triad_context {
  const ck_peak_kernels *kernels;
  char *a, *b, *c;
  int64_t lines, parts;
} triad_context;

static void triad_part(const triad_context *t, int64_t index, int64_t *from, int64_t *bytes) {
  *from = index * t->lines / t->parts * LINE;
  *bytes = (index + 1) * t->lines / t->parts * LINE - *from;
}

/* Until it is written to, memory is one shared page of zeros, and reading it costs no bandwidth. */
static void touch_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const triad_context *t = context;
  int64_t from, bytes;
  triad_part(t, index, &from, &bytes);
  memset(t->a + from, 0, (size_t)bytes);
  memset(t->b + from, 0, (size_t)bytes);
  memset(t->c + from, 0, (size_t)bytes);
}

static void triad_task(ck_worker *worker, void *context, int64_t index) {
  (void)worker;
  const triad_context *t = context;
  int64_t from, bytes;
  triad_part(t, index, &from, &bytes);
  t->kernels->triad(t->a + from, t->b + from, t->c + from, bytes);
}

double ck_measure_triad(void *buffer, int64_t bytes, int threads, double seconds) {
  int64_t skip = (int64_t)(-(uintptr_t)buffer % LINE), lines = (bytes - skip) / LINE, step = lines * LINE;
  if (lines <= 0)
    return 0;
  char *a = (char *)buffer + skip;
  triad_context t = {&ck_kernels_for(CK_F32)->peak, a, a + step, a + 2 * step, lines, threads};
  const ck_run run = {.threads = threads};
  ck_parallel(threads, touch_task, &t, &run, NULL, 0);
  return 3 * (double)step / best_round(triad_task, &t, threads, seconds);
}
