/* Columns written out. */
#ifndef CK_IM2COL_H
#define CK_IM2COL_H

#include "convkit.h"

/* Either plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_im2col(const ck_conv *call, int64_t *bytes);

#endif
