/* A correlation at work: its tasks, block by block. */
#ifndef CK_DENSE_RUN_H
#define CK_DENSE_RUN_H

#include "dense_block.h"

ck_status ck_dense_run(ck_dense *dense, const ck_run *run);

/* The block's box, for these tiles. Whoever has changed the phases, or the box but for its images, sets
 * settled to 0. */
void ck_dense_run_block(ck_block *block, int64_t tile, int64_t tile_end);

#endif
