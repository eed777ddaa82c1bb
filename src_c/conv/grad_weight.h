/* The gradient of weight and bias. */
#ifndef CK_GRAD_WEIGHT_H
#define CK_GRAD_WEIGHT_H

#include "base/geometry.h"

/* Plans (bytes != NULL: sets the workspace it needs, touches nothing) or runs. */
ck_status ck_conv_grad_weight(const ck_conv *call, int transposed, int64_t *bytes);

/* panel[pixel][lane] of a box of y-like pixels: `lanes` channels from `first` on, `step` apart; offset[x] is the offset
 * of pixel x of a row. Returns whether anything was not finite. */
int ck_conv_pack_pixels(const ck_conv *call, const ck_tensor *tensor, const ck_box *box, int64_t first, int64_t step,
                        int64_t lanes, int64_t ld, const int64_t *offset, char *panel);

#endif
