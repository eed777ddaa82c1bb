/* What the planner asks of the machine as it is. */
#ifndef CK_PEAK_H
#define CK_PEAK_H

#include "dispatch.h"

/* Multiply-adds of vectors that a core begins in a cycle, one or two, as timed at the first call for an instruction set
 * (50 us). AVX-512 on a Zen 4, whose pipes are half as wide, and on small Xeons, of which one pipe is missing: one. */
int ck_fma_pipes(const ck_kernels *kernels);

#endif
