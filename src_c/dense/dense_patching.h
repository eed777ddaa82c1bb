/* What it comes to if blocks are cut into patches (dense_patch.h). */
#ifndef CK_DENSE_PATCHING_H
#define CK_DENSE_PATCHING_H

#include "dense.h"

/* Those of these axes, a bit each, along which it may be worth it. */
int ck_dense_patch_axes(const ck_dense *dense, int axes);

/* Of the blocks of a grid, cut along these axes. */
ck_patching ck_dense_patching(const ck_dense *dense, int axes, const ck_grid *grid);

#endif
