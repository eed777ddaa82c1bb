/* A correlation at work: its tasks, block by block, and its weights laid out ahead of them. */
#ifndef CK_DENSE_RUN_H
#define CK_DENSE_RUN_H

#include "dense_block.h"

ck_status ck_dense_run(ck_dense *dense, const ck_run *run);

/* Writes ck_dense_panels' weights, for `prepared`; scratch is of plan->bytes. */
void ck_dense_pack(const ck_dense *dense, const ck_dense_plan *plan, void *scratch, char *panels);

/* The block's box, for these tiles. Whoever has changed the box or the phases sets settled to 0. */
void ck_dense_run_block(ck_block *block, int64_t tile, int64_t tile_end);

#endif
