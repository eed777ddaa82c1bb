/* Depthwise correlations of 3x3 taps, of arrays whose columns are neighbours, straight from memory to memory: by plane,
 * without a window. */
#ifndef CK_SHEETS_DRIVER_H
#define CK_SHEETS_DRIVER_H

#include "base/parallel.h"
#include "dense.h"

int ck_sheets_can(const ck_dense *dense);

/* Of the plan that is begun the rest: `outer` is output channels. */
void ck_sheets_plan(const ck_dense *dense, const ck_run *run, ck_dense_plan *plan);
void ck_sheets_task(ck_worker *worker, void *call, int64_t index);

#endif
