/* The gradient of depthwise weights of arrays whose channels are neighbours: the sums that grad_weight.c has, in the
 * same chains, line by line from memory, without a window or panels, and without taps that are padding. */
#ifndef CK_WEIGHT_LINES_H
#define CK_WEIGHT_LINES_H

#include "convkit.h"

/* Whether a call's gradient of the weight goes this way. */
int ck_weight_by_lines(const ck_conv *call, int transposed);

/* Plans (bytes != NULL: raises it to what is needed, touches nothing) or runs. */
ck_status ck_weight_lines(const ck_conv *call, int transposed, int64_t *bytes);

#endif
