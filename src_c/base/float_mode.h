/* The calling thread's floating-point mode: whether denormal numbers are taken, and stored, as zeros. */
#ifndef CK_FLOAT_MODE_H
#define CK_FLOAT_MODE_H

#include <stdint.h>

/* The mode before, for ck_float_mode_restore. On CPUs that have no such mode, or none known here, nothing happens. */
uint64_t ck_float_mode_flush(void);
void ck_float_mode_restore(uint64_t before);

#endif
