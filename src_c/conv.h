/* Convolution's drivers, one for each direction; ck_conv_run in conv.c chooses. */
#ifndef CK_CONV_H
#define CK_CONV_H

#include "dense.h"

/* Each either plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_conv_forward(const ck_conv *call, int64_t *bytes);
ck_status ck_conv_grad_x(const ck_conv *call, int64_t *bytes);
ck_status ck_conv_grad_weight(const ck_conv *call, int64_t *bytes);

/* Columns written out: im2col, its adjoint, and the gradient of x by way of it. */
ck_status ck_im2col(const ck_conv *call, int64_t *bytes);
ck_status ck_col2im(const ck_conv *call, int64_t *bytes);
ck_status ck_im2col_grad_x(const ck_conv *call, int64_t *bytes);

/* Zeros in all of x. */
ck_status ck_conv_zero_x(const ck_conv *call, int64_t *bytes);

/* Whether this call goes group by group on the lanes ("direct") rather than through dense panels. */
int ck_conv_is_direct(const ck_conv *call);

/* The source of windows for forward and for the gradient of weight: x, with convolution's own axes. */
ck_source ck_conv_x_source(const ck_conv *call, int depthwise);
/* The gradient as a source, its axes left to fill in: y, times the activation's derivative if there is one. */
ck_source ck_conv_gradient_source(const ck_conv *call, int depthwise);

#endif
