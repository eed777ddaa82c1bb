/* Depthwise correlations of arrays whose channels are neighbours, straight from memory to memory: by group, without a
 * window, and without taps that are padding. */
#ifndef CK_LINES_H
#define CK_LINES_H

#include "dense_plan.h"

int ck_lines_can(const ck_dense *dense);

/* Runs it, or, where bytes is not NULL, raises *bytes to the workspace it takes. */
ck_status ck_lines(const ck_dense *dense, const ck_run *run, int64_t *bytes);

/* Weights laid out for every image to come, and their bytes. */
int64_t ck_lines_panels(const ck_dense *dense);
void ck_lines_pack(const ck_dense *dense, const ck_run *run, char *panels);

/* Block, lanes and tasks. */
void ck_lines_explain(const ck_dense *dense, const ck_run *run, ck_explanation *explanation);

#endif
