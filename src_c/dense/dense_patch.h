/* Patches of a block: boxes of its outputs within which every tap is padding for all or for none. Each is multiplied by
 * the taps that it reads alone, while the block's panel is at hand. A block's rows are patch after patch. */
#ifndef CK_DENSE_PATCH_H
#define CK_DENSE_PATCH_H

#include "dense_block.h"

/* Those of the block's box; where its tables are new, their rows; and which products of the tile's panel one takes. */
void ck_dense_set_patches(ck_block *block);
void ck_dense_set_patch_rows(ck_block *block);
void ck_dense_set_patch_products(const ck_block *block, const ck_tile *tile, ck_patch *patch);

/* Bias, activation and store of a tile. */
void ck_dense_drain_patches(ck_block *block, const ck_tile *tile, char *acc);

#endif
