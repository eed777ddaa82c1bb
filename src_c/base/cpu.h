/* What this machine's CPU and operating system offer, as far as dispatch needs to know. */
#ifndef CK_CPU_H
#define CK_CPU_H

#include "convkit.h"

/* Whether kernels of this instruction set may run here, whether or not they were built. */
int ck_cpu_offers(int isa);

/* Bytes of a core's cache of level 1 (data) or 2, as the operating system has it; else a common size. */
int64_t ck_cpu_cache(int level);

#endif
