/* Columns written out: im2col, its adjoint, and the gradient of x by way of it. */
#ifndef CK_IM2COL_H
#define CK_IM2COL_H

#include "convkit.h"

/* Each either plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_im2col(const ck_conv *call, int64_t *bytes);
ck_status ck_col2im(const ck_conv *call, int64_t *bytes);
ck_status ck_im2col_grad_x(const ck_conv *call, int transposed, int64_t *bytes);

#endif
