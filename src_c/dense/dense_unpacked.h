/* A few pixels against weights where they are. */
#ifndef CK_DENSE_UNPACKED_RUN_H
#define CK_DENSE_UNPACKED_RUN_H

#include "dense_block.h"

/* The tile of the block, whose pixels are set: summed into the accumulators, one k-block after the other. */
void ck_dense_sum_unpacked(const ck_block *block, const ck_tile *tile);

#endif
