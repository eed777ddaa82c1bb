/* The average of whole planes, global pooling. */
#ifndef CK_POOL_WHOLE_H
#define CK_POOL_WHOLE_H

#include "convkit.h"

/* It has an order of its own, by shape alone: 16 partial sums. */
int ck_pool_is_whole(const ck_pool_shape *shape);
int64_t ck_pool_whole_bytes(const ck_pool *call); /* of scratch, for each thread */
ck_status ck_pool_whole_run(const ck_pool *call);

#endif
