/* What the planner asks of the machine as it is. */
#ifndef CK_PEAK_H
#define CK_PEAK_H

#include "dispatch.h"

/* Multiply-adds of vectors that a core begins in a cycle, one or two, as timed at the first call for an instruction set
 * (less than 0.1 ms on a Zen 4). With AVX-512 one on a Zen 4, whose pipes are half as wide, and on small Xeons, which
 * lack a pipe. */
int ck_fma_pipes(const ck_kernels *kernels);

#endif
