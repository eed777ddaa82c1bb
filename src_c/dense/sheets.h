/* Depthwise correlations of 3x3 taps, of arrays whose columns are neighbours, straight from memory to memory: by plane,
 * without a window. */
#ifndef CK_SHEETS_DRIVER_H
#define CK_SHEETS_DRIVER_H

#include "dense_plan.h"

/* Estimated; 0 if it cannot be. Whether that is less than the cheapest plan of the engine. */
double ck_sheets_cycles(const ck_dense *dense, const ck_run *run);
int ck_sheets_take(const ck_dense *dense, const ck_run *run);

/* Runs it, or, where bytes is not NULL, raises *bytes to the workspace it takes. */
ck_status ck_sheets(const ck_dense *dense, const ck_run *run, int64_t *bytes);

/* Block and tasks. */
void ck_sheets_explain(const ck_dense *dense, const ck_run *run, ck_explanation *explanation);

#endif
