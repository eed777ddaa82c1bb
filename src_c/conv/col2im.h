/* Columns added up: the adjoint of im2col, and the gradient of x by way of its columns. */
#ifndef CK_COL2IM_H
#define CK_COL2IM_H

#include "convkit.h"

/* Each either plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_col2im(const ck_conv *call, int64_t *bytes);
ck_status ck_col2im_grad_x(const ck_conv *call, int transposed, int64_t *bytes);

#endif
