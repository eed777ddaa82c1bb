/* Threads, two ways: a pool of our own or, where that was built in, OpenMP's team. Both run the same loop: a thread
 * takes the tasks of a range of its own, then those that are left in the others', so a team that turns out smaller than
 * asked for, down to one, still finishes every task. Ranges keep a thread on the same part of an array from call to
 * call and from layer to layer, in its own cache: with one counter for all, batch 1 of a 64-channel layer took 460 or
 * 570 us, as chance had it.
 *
 * Thread 0 is always the thread that called, and the only one that polls: it alone may hold Python's thread state. */
#include "parallel.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#if defined(CK_HAVE_OPENMP)
#include <omp.h>
#endif

#include "clock.h"
#include "float_mode.h"
#include "geometry.h"
#include "workers.h"

enum { CACHE_LINE = 64, MOST_RANGES = 64 };

/* Written for every task: on a line of its own. */
typedef struct range {
  _Alignas(CACHE_LINE) _Atomic int64_t next;
  int64_t end;
} range;

typedef struct ck_team {
  range range[MOST_RANGES];
  int ranges; /* more threads than that share them */
  atomic_int stop;
  int64_t begun; /* when OpenMP was to run it, and may be given up; or 0 */
  ck_task task;
  void *context;
  const ck_run *run;
  char *base;
  int64_t stride;
} ck_team;

/* ------------------------------------------------------------------ fork */

/* libgomp's pool does not survive fork(): the child's first region would wait for threads that were never copied.
 * Another library may have filled the pool, so the hook is set before the first call, not before the first team. */
static atomic_int forked;
static void mark_forked(void) { atomic_store_explicit(&forked, 1, memory_order_relaxed); }
static void watch_for_fork(void) { pthread_atfork(NULL, NULL, mark_forked); }

int ck_after_fork(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_for_fork);
  return atomic_load_explicit(&forked, memory_order_relaxed);
}

/* ------------------------------------------------------------------ signals */

/* Kept across calls, since an operation may be many short ones: each thread that calls polls on its own clock. */
static _Thread_local int64_t last_poll;

int ck_stopped(ck_worker *worker) {
  ck_team *team = worker->team;
  const ck_run *run = team->run;
  if (atomic_load_explicit(&team->stop, memory_order_relaxed))
    return 1;
  if (worker->tid != 0 || !run->poll)
    return 0;
  int64_t now = ck_nanoseconds();
  if (now - last_poll < CK_POLL_NANOSECONDS)
    return 0;
  if (run->flush_denormals) /* what poll runs may be anybody's */
    ck_float_mode_restore(worker->float_mode);
  int stop = run->poll() != 0;
  if (run->flush_denormals)
    ck_float_mode_flush();
  last_poll = ck_nanoseconds(); /* poll may have waited long for Python's lock */
  if (stop)
    atomic_store_explicit(&team->stop, 1, memory_order_relaxed);
  return stop;
}

/* ------------------------------------------------------------------ teams */

static void share_out(ck_team *team, int64_t ntasks, int threads) {
  team->ranges = threads < MOST_RANGES ? threads : MOST_RANGES;
  for (int r = 0; r < team->ranges; r++) {
    atomic_init(&team->range[r].next, ck_part_start(ntasks, team->ranges, r));
    team->range[r].end = ck_part_start(ntasks, team->ranges, r + 1);
  }
}

/* The next task of the `left` ranges from r on, or -1. */
static int64_t take(ck_team *team, int *r, int *left) {
  for (; *left > 0; --*left, *r = (*r + 1) % team->ranges) {
    int64_t index = atomic_fetch_add_explicit(&team->range[*r].next, 1, memory_order_relaxed);
    if (index < team->range[*r].end)
      return index;
  }
  return -1;
}

/* A thread of OpenMP's that begins so late, after all has been done, has been without a CPU, which others want: all had
 * to wait for it. For the time of CROWDED the pool does what OpenMP was to do, unless that was asked for. Nanoseconds.
 * That says nothing of threads that may have been asleep, as they are some time after the region before: on a virtual
 * machine they are that late now and then where nobody else is. */
enum { LATE = 500 * 1000, CROWDED = 100 * 1000 * 1000, AWAKE = 1000 * 1000 };
static _Atomic int64_t crowded;     /* until then */
static _Thread_local int64_t ended; /* when a region of this caller's did, whose team is its own */

static void note_late(const ck_team *team) {
  const int64_t now = ck_nanoseconds();
  if (now - team->begun > LATE)
    atomic_store_explicit(&crowded, now + CROWDED, memory_order_relaxed);
}

static int is_crowded(void) {
  const int64_t until = atomic_load_explicit(&crowded, memory_order_relaxed);
  return until && ck_nanoseconds() < until;
}

/* A call of one task reads no clock. */
static void work(void *argument, int tid) {
  ck_team *team = argument;
  ck_worker worker = {.tid = tid, .scratch = team->base ? team->base + tid * team->stride : NULL, .team = team};
  if (team->run->flush_denormals)
    worker.float_mode = ck_float_mode_flush();
  int r = tid % team->ranges, left = team->ranges;
  int64_t index = take(team, &r, &left);
  if (index < 0 && team->begun)
    note_late(team);
  while (index >= 0) {
    team->task(&worker, team->context, index);
    index = take(team, &r, &left);
    if (index >= 0 && ck_stopped(&worker))
      break;
  }
  if (team->run->flush_denormals)
    ck_float_mode_restore(worker.float_mode);
}

/* ------------------------------------------------------------------ who runs them */

static atomic_int asked; /* whether somebody chose */

#if defined(CK_HAVE_OPENMP)

enum { OPENMP_BUILT = 1 };

/* Inside somebody else's team the cores are taken already. */
static int confined(void) { return omp_in_parallel(); }

static void run_openmp(ck_team *team, int threads) {
  const int may_change = !atomic_load_explicit(&asked, memory_order_relaxed);
  const int64_t now = may_change ? ck_nanoseconds() : 0;
  team->begun = now - ended < AWAKE ? now : 0;
#pragma omp parallel num_threads(threads)
  work(team, omp_get_thread_num());
  if (may_change)
    ended = ck_nanoseconds();
}

#else

enum { OPENMP_BUILT = 0 };

static int confined(void) { return 0; }

static void run_openmp(ck_team *team, int threads) {
  (void)threads;
  work(team, 0);
}

#endif

static atomic_int chosen = OPENMP_BUILT ? CK_OPENMP : CK_POOL;

const char *ck_threading_name(int way) { return way == CK_OPENMP ? "openmp" : "pool"; }
int ck_threading_built(int way) { return way == CK_POOL || (way == CK_OPENMP && OPENMP_BUILT); }

int ck_threading_current(void) {
  const int may_change = !atomic_load_explicit(&asked, memory_order_relaxed);
  if (ck_after_fork() || (may_change && is_crowded()))
    return CK_POOL;
  return atomic_load_explicit(&chosen, memory_order_relaxed);
}

int ck_threading_set(int way) {
  if (!ck_threading_built(way))
    return -1;
  atomic_store_explicit(&chosen, way, memory_order_relaxed);
  atomic_store_explicit(&asked, 1, memory_order_relaxed);
  return 0;
}

static int threads_for(int threads, int64_t ntasks) {
  if (threads <= 1 || ntasks <= 1 || confined())
    return 1;
  return ntasks < threads ? (int)ntasks : threads;
}

ck_status ck_parallel(int64_t ntasks, ck_task task, void *context, const ck_run *run, void *base, int64_t stride) {
  assert((uintptr_t)base % CACHE_LINE == 0 && stride % CACHE_LINE == 0);
  int threads = threads_for(run->threads, ntasks);
  if (base && (char *)base - (char *)run->workspace + threads * stride > run->workspace_bytes)
    return CK_WORKSPACE;
  ck_team team; /* of its ranges, only those in use are set */
  atomic_init(&team.stop, 0);
  team.begun = 0;
  team.task = task;
  team.context = context;
  team.run = run;
  team.base = base;
  team.stride = stride;
  share_out(&team, ntasks, threads);
  if (threads == 1)
    work(&team, 0);
  else if (ck_threading_current() == CK_OPENMP)
    run_openmp(&team, threads);
  else if (ck_workers_run(work, &team, threads) != 0)
    return CK_FORKED;
  return atomic_load_explicit(&team.stop, memory_order_relaxed) ? CK_INTERRUPTED : CK_OK;
}
