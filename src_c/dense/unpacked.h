/* Correlations of a few pixels whose sources and weights are read where they are, weights once: those of `linear`. */
#ifndef CK_DENSE_UNPACKED_H
#define CK_DENSE_UNPACKED_H

#include "dense_block.h"

/* Whether this one can be. */
int ck_unpacked_can(const ck_dense *dense);

/* Pixels and few lanes, of one tap, take each other's place, if they can: whether they did. */
int ck_unpacked_swap(ck_dense *dense);

/* Tiles of a block, whose weights may be anything: no tap is padding. */
void ck_unpacked_run(ck_block *block, int64_t tile, int64_t tile_end);

#endif
