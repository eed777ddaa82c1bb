/* The gradient of weight and bias. */
#ifndef CK_GRAD_WEIGHT_H
#define CK_GRAD_WEIGHT_H

#include "base/geometry.h"

/* Plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_conv_grad_weight(const ck_conv *call, int transposed, int64_t *bytes);

#endif
