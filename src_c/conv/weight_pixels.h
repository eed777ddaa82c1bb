/* Pixels of the gradient, and of the activation's output, as a gradient of the weight takes them. */
#ifndef CK_WEIGHT_PIXELS_H
#define CK_WEIGHT_PIXELS_H

#include "base/geometry.h"

/* panel[pixel][lane] of a box of y-like pixels: `lanes` channels from `first` on, `step` apart; offset[x] is the offset
 * of pixel x of a row. Returns whether anything was not finite. */
int ck_weight_pack_pixels(const ck_conv *call, const ck_tensor *tensor, const ck_box *box, int64_t first, int64_t step,
                          int64_t lanes, int64_t ld, const int64_t *offset, char *panel);

/* Adds the pixels of the gradient in such a box to the sums of the lanes: the gradient of the bias, read where it is.
 * Of a transposed convolution of 2 to 98 channels, 2x2x2 on 13x13x13, weight and bias take 0.77 of the time that they
 * took by way of a panel (Zen 4). */
void ck_weight_sum_pixels(const ck_conv *call, const ck_box *box, int64_t first, int64_t step, int64_t lanes,
                          int64_t ld, const int64_t *offset, char *sums);

#endif
