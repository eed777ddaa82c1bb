/* The same correlation as dense.h's, of 3x3 taps along the last two axes without a stride, by Winograd's F(4x4, 3x3):
 * tiles of 4x4 outputs out of 36 products. Sums are rounded differently, so it is an algorithm and no arrangement.
 *
 * A block is a box of tiles. Its inputs B'dB, a chunk of channels at a time, are the rows of 36 products, one for each
 * point, whose panels are the weights GgG'; the sums A'mA go through dense.h's drain. Every point is one chain over all
 * channels and the first axis's taps, and tiles begin where the image does, or, of a dilated kernel, each of its
 * phases: so blocks, chunks and threads leave the bits alone. A tile with an output that is not finite, which one
 * element of its inputs may have spread, is computed again by dense.h. */
#ifndef CK_WINOGRAD_H
#define CK_WINOGRAD_H

#include "winograd_plan.h"

/* Writes all weights as the plan has them ready, for `prepared`; scratch is of plan->bytes. */
void ck_winograd_pack(const ck_dense *dense, const ck_winograd_plan *plan, void *scratch, char *panels);

/* Plans (bytes != NULL: raises it to what is needed, touches nothing) or runs. */
ck_status ck_winograd(const ck_dense *dense, const ck_run *run, int64_t *bytes);

#endif
