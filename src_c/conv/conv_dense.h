/* Convolution as correlations: forward, and the gradient of x, which is transposed convolution. */
#ifndef CK_CONV_DENSE_H
#define CK_CONV_DENSE_H

#include "dense/dense.h"

/* Each either plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs.  Transposed convolution
 * swaps the first two: its forward is grad_x with bias and activation, its gradient of x is forward without. */
ck_status ck_conv_forward(const ck_conv *call, int transposed, int64_t *bytes);
ck_status ck_conv_grad_x(const ck_conv *call, int transposed, int64_t *bytes);

/* Zeros, or the bias and then `activation`, in all of x. */
ck_status ck_conv_start_x(const ck_conv *call, int transposed, int64_t *bytes);

/* The correlations that forward and the gradient of x are; what falls on padding that repeats elements is more of them,
 * which are added to the latter. */
ck_dense ck_conv_forward_dense(const ck_conv *call, int transposed);
ck_dense ck_conv_inside_dense(const ck_conv *call, int transposed);
/* Forward's on the arrays' own axes, for the positions of a sampler; the other may have rows joined. */
ck_dense ck_conv_axes_dense(const ck_conv *call, int transposed);

/* Whether a correlation of this call is Winograd's, and not the engine's. */
int ck_conv_is_winograd(const ck_conv *call, const ck_dense *dense);

/* Threads that a call with so many outputs along each axis is worth, at most its own; and those for a region. */
int ck_conv_threads(const ck_conv *call, const int64_t outputs[3]);
int ck_conv_region_threads(const ck_conv *call, const ck_dense *dense);

/* Whether this call goes group by group on the lanes ("direct") rather than through dense panels. */
static inline int ck_conv_is_direct(const ck_conv *call) { return call->algorithm == CK_DIRECT; }

/* Windows over x, with convolution's own axes, and over y, whose axes are left to fill in; gradient: the tensor is a
 * gradient, to be multiplied by the activation's derivative if there is one; by_lanes: their order is CK_LANES. */
ck_source ck_conv_x_source(const ck_conv *call, int gradient, int by_lanes);
ck_source ck_conv_y_source(const ck_conv *call, int gradient, int by_lanes);

#endif
