/* The one owner of threads, with its pool (workers.c).  Nothing else in the library includes an OpenMP header. */
#ifndef CK_PARALLEL_H
#define CK_PARALLEL_H

#include "convkit.h"

/* What a task gets: its scratch, and a way to notice that the call was interrupted. */
typedef struct ck_worker {
  int tid;
  char *scratch; /* 64-byte aligned, private to this thread for the whole call */
  void *team;    /* this and the next are private to parallel.c */
  uint64_t float_mode;
} ck_worker;

typedef void (*ck_task)(ck_worker *worker, void *context, int64_t index);

/* Runs task(worker, context, i) for every i in 0..ntasks-1, dynamically, on up to run->threads threads;
 * thread t's scratch is base + t * stride, base being NULL or lying in run's workspace (CK_WORKSPACE if it does not
 * hold all of them). */
ck_status ck_parallel(int64_t ntasks, ck_task task, void *context, const ck_run *run, void *base, int64_t stride);

/* True once the call was interrupted.  Long tasks ask between blocks; on thread 0 this polls when 50 ms have passed. */
int ck_stopped(ck_worker *worker);

/* The same where steps are short, asked before every `each`th but for the first: a clock is read, and by a call of one
 * step none is. */
static inline int ck_stopped_at(ck_worker *worker, int64_t step, int64_t each) {
  return step > 0 && step % each == 0 && ck_stopped(worker);
}

#endif
