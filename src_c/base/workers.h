/* A pool of threads that all callers share. */
#ifndef CK_WORKERS_H
#define CK_WORKERS_H

typedef void (*ck_work)(void *team, int tid);

/* For 2 threads and more: calls work(team, 0) here and meanwhile, on threads of the pool, work(team, tid) for tids from
 * 1 to threads - 1, each at most once and none after the call here has returned: nobody is waited for who has not come.
 * Returns once all who came have left. Callers in several threads, and inside of work, share the pool, which has as
 * many threads as the largest of their calls asked for; a forked child starts its own.
 *
 * -1 if the process was forked by work, and this is the child: what other threads had begun is lost. */
int ck_workers_run(ck_work work, void *team, int threads);

#endif
