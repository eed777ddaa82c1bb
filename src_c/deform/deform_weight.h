/* The gradient of a deformable convolution's weight. */
#ifndef CK_DEFORM_WEIGHT_H
#define CK_DEFORM_WEIGHT_H

#include "base/parallel.h"
#include "deform_chunk.h"

/* Tasks: the gradient of the weight, one for each part and panel of output channels. */
void ck_chunk_grad_weight(ck_worker *worker, const ck_chunk *chunk, int64_t index);

#endif
