/* Depthwise convolution and its like with pixels on the lanes: another arrangement of the correlation that dense.h
 * describes, with the same bits. */
#ifndef CK_PLANES_DRIVER_H
#define CK_PLANES_DRIVER_H

#include "dense.h"

/* Whether it can do this correlation and is expected to do it in less time than groups on the lanes. */
int ck_planes_wins(const ck_dense *dense, int threads);

/* Plans (bytes != NULL: raises it to what is needed, touches nothing) or runs. All phases are computed, whichever
 * dense->phases names. */
ck_status ck_planes(const ck_dense *dense, const ck_run *run, int64_t *bytes);

#endif
