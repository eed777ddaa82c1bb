/* Depthwise correlations of arrays whose channels are neighbours, straight from memory to memory: without a window, and
 * without taps that are padding. */
#ifndef CK_LINES_H
#define CK_LINES_H

#include "base/parallel.h"
#include "dense.h"

int ck_lines_can(const ck_dense *dense);

/* Of the plan that is begun the rest, but for an estimate: `outer` is whole vectors of channels. */
void ck_lines_plan(const ck_dense *dense, const ck_run *run, ck_dense_plan *plan);
void ck_lines_task(ck_worker *worker, void *call, int64_t index);

/* Weights laid out for every image to come, and their bytes. */
int64_t ck_lines_panels(const ck_dense *dense);
void ck_lines_pack(const ck_dense *dense, void *scratch, char *panels);

#endif
