#include "conv.h"
ck_status ck_im2col_forward(const ck_conv *call, int64_t *bytes){return CK_UNSUPPORTED;}
ck_status ck_im2col_grad_x(const ck_conv *call, int64_t *bytes){return CK_UNSUPPORTED;}
ck_status ck_im2col_grad_weight(const ck_conv *call, int64_t *bytes){return CK_UNSUPPORTED;}
ck_status ck_im2col(const ck_conv *call){return CK_UNSUPPORTED;}
ck_status ck_col2im(const ck_conv *call){return CK_UNSUPPORTED;}
