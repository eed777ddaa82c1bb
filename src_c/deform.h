/* Deformable convolution's drivers; each either plans (bytes != NULL) or runs. */
#ifndef CK_DEFORM_H
#define CK_DEFORM_H

#include "conv.h"
#include "sampler.h"

ck_status ck_deform_forward(const ck_deform *call, int64_t *bytes);
ck_status ck_deform_backward(const ck_deform *call, int64_t *bytes);

#endif
