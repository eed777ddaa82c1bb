/* Moves by index. */
#ifndef CK_POOL_POINTS_H
#define CK_POOL_POINTS_H

#include "convkit.h"

/* Bytes between neighbours if a plane's elements are evenly spaced in row-major order, else 0. */
int64_t ck_pool_even_step(const ck_tensor *tensor, const int64_t size[3]);

ck_status ck_pool_points_run(const ck_pool *call, ck_pool_op op);

#endif
