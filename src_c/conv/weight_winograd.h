/* The gradient of the weight of 3x3 taps along the last two axes without a stride, by Winograd's F(3x3, 4x4): nine
 * gradients of a tile of 4x4 outputs out of 36 products instead of 144.
 *
 * Points of the input, B'dB, are the rows of 36 products, those of the gradient, AgA', their panels, and k is tiles: of
 * about CHAIN_TILES, as many as whole rows or images have, one chain, whose sums G'mG are then added to dW. So blocks
 * of tiles that are brought in at a time leave the bits alone, as do the rows and lanes of a task. */
#ifndef CK_WEIGHT_WINOGRAD_H
#define CK_WEIGHT_WINOGRAD_H

#include "convkit.h"

/* Whether a call's gradient of the weight goes this way. */
int ck_weight_by_winograd(const ck_conv *call);

/* Plans (bytes != NULL: raises it to what is needed, touches nothing) or runs. Where *again, which begins at 1, stays
 * so, dW is to be planned, or computed, by the engine: an element that is not finite spreads over a channel's. */
ck_status ck_weight_winograd(const ck_conv *call, int transposed, int64_t *bytes, int *again);

#endif
