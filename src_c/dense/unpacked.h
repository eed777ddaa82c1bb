/* Correlations of a few pixels whose sources and weights are read where they are, weights once: those of `linear`. */
#ifndef CK_DENSE_UNPACKED_H
#define CK_DENSE_UNPACKED_H

#include "dense.h"

/* Whether this one can be. */
int ck_unpacked_can(const ck_dense *dense);

/* Pixels and few lanes, of one tap, take each other's place, if they can: whether they did. */
int ck_unpacked_swap(ck_dense *dense);

/* A block's rows, at the correlation's first channel, and from one to the next. */
const char *ck_unpacked_rows(const ck_dense *dense, const ck_box *box, int64_t *step);

/* Bytes from product to product of the weights: an element's, or else lanes are adjacent. */
int64_t ck_unpacked_weight_step(const ck_dense *dense);

#endif
