/* How a correlation is arranged and cut. */
#ifndef CK_DENSE_PLAN_H
#define CK_DENSE_PLAN_H

#include "base/memo.h"
#include "dense.h"

/* Arranges the correlation and cuts it, both so as to cost least. */
ck_dense_plan ck_dense_make_plan(ck_dense *dense, const ck_run *run);
/* What one of the arrangements would cost, estimated; 0 if it cannot be. */
double ck_dense_cycles(const ck_dense *dense, int arrangement, const ck_run *run);
/* Bytes of a panel of the weights; and of all, laid out for `prepared`, or none where tasks sort them differently. */
int64_t ck_dense_panel_bytes(const ck_dense *dense, const ck_dense_plan *plan);
int64_t ck_dense_panels(const ck_dense *dense, const ck_dense_plan *plan);
/* All that a plan follows from. */
void ck_dense_add_to_key(ck_memo_key *key, const ck_dense *dense, int arrangements, const ck_run *run);

/* After so many tasks that tiles are shared out to: the next number to try, at last one for each; or 0. */
int64_t ck_next_parts(int64_t parts, int64_t tiles);

/* By pixel, for boxes of up to so many rows and columns of an image. */
ck_dense_plan ck_dense_plan_rows(ck_dense *dense, int64_t rows, int64_t columns);

#endif
