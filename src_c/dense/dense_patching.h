/* What it comes to if blocks are cut into patches (dense_patch.h). */
#ifndef CK_DENSE_PATCHING_H
#define CK_DENSE_PATCHING_H

#include "dense.h"

/* Of the blocks of a grid, cut along these axes, a bit each. */
ck_patching ck_dense_patching(const ck_dense *dense, int axes, const ck_grid *grid);

#endif
