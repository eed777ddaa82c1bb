/* By plane: one output channel a group, with pixels on the lanes. */
#ifndef CK_DENSE_PLANE_H
#define CK_DENSE_PLANE_H

#include "dense_block.h"

/* By plane: what ck_phase_taps says, of each phase of the task, and the product of one phase. */
void ck_dense_set_phase_taps(const ck_block *block);
void ck_dense_multiply_plane(ck_block *block, const ck_tile *tile, const ck_part *part);

/* For a box: what is to be fetched for the next group. */
void ck_dense_set_ahead(ck_block *block);

#endif
