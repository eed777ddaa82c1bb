/* The gradients of a deformable convolution. */
#ifndef CK_DEFORM_BACKWARD_H
#define CK_DEFORM_BACKWARD_H

#include "convkit.h"

/* Plans (bytes != NULL) or runs. */
ck_status ck_deform_backward(const ck_deform *call, int64_t *bytes);

#endif
