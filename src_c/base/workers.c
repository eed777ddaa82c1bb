/* A caller lists a job; threads of the pool join those that are listed. One without work looks out for some, busily,
 * before it sleeps. One lock guards it all: it is taken twice a job by each that takes part, and held for some tens of
 * nanoseconds. */
#if defined(__linux__)
#define _GNU_SOURCE /* PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP */
#endif
#include "workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "clock.h"

/* MOST: threads of a call. CALLED: sleeping threads that one thread wakes, 5 us each; they wake others in turn. */
enum { MOST = 1024, CALLED = 2 };

/* Nanoseconds. IDLE: how long a thread looks out for work before it sleeps; to be woken takes 50 us and more. LOST: who
 * loses the CPU for so long meanwhile knows that others want it, and for the time of CROWDED nobody looks out. LAST:
 * how long a caller looks whether all have left before it sleeps. */
enum { IDLE = 2000 * 1000, LOST = 300 * 1000, CROWDED = 10 * 1000 * 1000, LAST = 50 * 1000 };

/* On its caller's stack; under the lock but for `inside`. */
typedef struct job {
  struct job *next; /* on the list */
  ck_work work;
  void *team;
  int threads, came;
  atomic_int inside; /* threads of the pool */
  char taken[MOST];  /* tids */
} job;

#if defined(PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP)
#define LOCK_INITIALIZER PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#else
#define LOCK_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#endif

typedef struct pool_state {
  pthread_mutex_t lock;
  pthread_cond_t wake, done; /* what threads of the pool, and what callers sleep for */
  job *open;                 /* the list of those that want more threads */
  int threads, idle, asleep; /* of all threads: those awake, or called, and without a job; those asleep */
  int called;                /* but not yet awake */
  int waiting;               /* callers asleep */
} pool_state;

#define NEW_POOL {.lock = LOCK_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER}

static pool_state pool = NEW_POOL;
static _Alignas(64) atomic_int listed;       /* how many jobs: what threads that look out read, on a line of its own */
static _Alignas(64) _Atomic int64_t crowded; /* until then */
static unsigned forks;

static int least(int a, int b) { return a < b ? a : b; }

static void start_anew(void) {
  pool = (pool_state)NEW_POOL;
  atomic_store(&listed, 0);
  forks++;
}

static void watch_for_fork(void) { pthread_atfork(NULL, NULL, start_anew); }

/* ------------------------------------------------------------------ under the lock */

static void list(job *j) {
  j->next = pool.open;
  pool.open = j;
  atomic_fetch_add(&listed, 1);
}

static void unlist(job *j) {
  for (job **link = &pool.open; *link; link = &(*link)->next) {
    if (*link == j) {
      *link = j->next;
      atomic_fetch_sub(&listed, 1);
      return;
    }
  }
}

/* Its own number as tid, where that is free: so a thread gets the same scratch and the same range of tasks from call to
 * call, which are in its cache. */
static int join(job *j, int number) {
  int tid = number < j->threads ? number : 1;
  while (j->taken[tid])
    tid = tid % (j->threads - 1) + 1;
  j->taken[tid] = 1;
  atomic_fetch_add(&j->inside, 1);
  if (++j->came == j->threads)
    unlist(j);
  pool.idle--;
  return tid;
}

/* How many of those asleep are to be woken for a job. They count as idle from here on. */
static int call_up(const job *j) {
  int count = least(least(j->threads - j->came - pool.idle, pool.asleep), CALLED);
  if (count <= 0)
    return 0;
  pool.asleep -= count;
  pool.called += count;
  pool.idle += count;
  return count;
}

static void sleep_until_called(void) {
  pool.idle--;
  pool.asleep++;
  while (pool.called == 0)
    pthread_cond_wait(&pool.wake, &pool.lock);
  pool.called--;
}

/* ------------------------------------------------------------------ the threads */

static void wake(int count) {
  for (; count > 0; count--)
    pthread_cond_signal(&pool.wake);
}

/* Until when to look out, from now on. */
static int64_t patience(void) {
  int64_t now = ck_nanoseconds();
  return now < atomic_load_explicit(&crowded, memory_order_relaxed) ? now : now + IDLE;
}

/* Returns once a job is listed, or it is time to sleep: until when to look out further. */
static int64_t look_out(int64_t until) {
  int64_t last, now = ck_nanoseconds();
  do {
    for (int i = 0; i < 32; i++) {
      if (atomic_load_explicit(&listed, memory_order_relaxed))
        return until;
      ck_pause();
    }
    last = now;
    now = ck_nanoseconds();
  } while (now < until && now - last < LOST);
  if (now - last >= LOST)
    atomic_store_explicit(&crowded, now + CROWDED, memory_order_relaxed);
  return now;
}

static void *live(void *number) {
  int64_t until = patience();
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    job *j = pool.open;
    if (j) {
      int tid = join(j, (int)(intptr_t)number), others = pool.open ? call_up(pool.open) : 0;
      pthread_mutex_unlock(&pool.lock);
      wake(others);
      j->work(j->team, tid);
      until = patience();
      pthread_mutex_lock(&pool.lock);
      pool.idle++;
      if (atomic_fetch_sub(&j->inside, 1) == 1 && pool.waiting) /* from here on, j may be gone */
        pthread_cond_broadcast(&pool.done);
    } else if (ck_nanoseconds() < until) {
      pthread_mutex_unlock(&pool.lock);
      until = look_out(until);
      pthread_mutex_lock(&pool.lock);
    } else {
      sleep_until_called();
      until = patience();
    }
  }
  return NULL;
}

/* Under the lock; what the system refuses is done without. Signals are for the process's other threads. */
static void start(int threads) {
  sigset_t all, before;
  pthread_attr_t detached;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  while (pool.threads < threads &&
         pthread_create(&thread, &detached, live, (void *)(intptr_t)(pool.threads + 1)) == 0) {
    pool.threads++;
    pool.idle++;
  }
  pthread_attr_destroy(&detached);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ------------------------------------------------------------------ callers */

static void wait_for_all(job *mine) {
  int64_t until = ck_nanoseconds() + LAST;
  do {
    for (int i = 0; i < 32; i++) {
      if (atomic_load(&mine->inside) == 0)
        return;
      ck_pause();
    }
  } while (ck_nanoseconds() < until);
  pthread_mutex_lock(&pool.lock);
  pool.waiting++;
  while (atomic_load(&mine->inside) > 0)
    pthread_cond_wait(&pool.done, &pool.lock);
  pool.waiting--;
  pthread_mutex_unlock(&pool.lock);
}

int ck_workers_run(ck_work work, void *team, int threads) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_for_fork);
  job mine;
  mine.work = work;
  mine.team = team;
  mine.threads = least(threads, MOST);
  mine.came = 1;
  atomic_init(&mine.inside, 0);
  memset(mine.taken, 0, (size_t)mine.threads);
  const unsigned before = forks;

  pthread_mutex_lock(&pool.lock);
  list(&mine);
  int others = call_up(&mine);
  if (pool.threads < mine.threads - 1)
    start(mine.threads - 1);
  pthread_mutex_unlock(&pool.lock);
  wake(others);

  work(team, 0);

  if (before != forks)
    return -1;
  pthread_mutex_lock(&pool.lock);
  unlist(&mine);
  pthread_mutex_unlock(&pool.lock);
  wait_for_all(&mine);
  return 0;
}
