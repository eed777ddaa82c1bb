/* A few pixels against weights where they are. */
#ifndef CK_DENSE_UNPACKED_RUN_H
#define CK_DENSE_UNPACKED_RUN_H

#include "dense_block.h"

/* Tiles of a block, whose weights may be anything: no tap is padding. */
void ck_dense_run_unpacked(ck_block *block, int64_t tile, int64_t tile_end);

#endif
