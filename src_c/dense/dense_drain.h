/* From accumulators to the output. */
#ifndef CK_DENSE_DRAIN_H
#define CK_DENSE_DRAIN_H

#include "dense_block.h"

/* By channel, how many runs of a block at a time go to places that are all equally far apart, and how many bytes. */
int64_t ck_dense_runs_alike(const ck_block *block, int64_t *apart);

/* Where run r of a tile goes, if it goes straight to the output. Most blocks of a plane have but the first. */
ck_finish ck_dense_finish_at(const ck_block *block, const ck_tile *tile, int64_t r);

/* The tile's bias, or zeros, in scratch. */
void ck_dense_load_bias(const ck_block *block, const ck_tile *tile);

/* Bias, activation and store of one tile, whose accumulators begin at acc, one phase after the other, and are done
 * with. */
void ck_dense_drain(ck_block *block, const ck_tile *tile, char *acc);

#endif
