#include "float_mode.h"

#if defined(__SSE2__)

enum { DENORMALS_ARE_ZERO = 1 << 6, FLUSH_TO_ZERO = 1 << 15 };

uint64_t ck_float_mode_flush(void) {
  unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | DENORMALS_ARE_ZERO | FLUSH_TO_ZERO);
  return before;
}

void ck_float_mode_restore(uint64_t before) { __builtin_ia32_ldmxcsr((unsigned)before); }

#elif defined(__aarch64__)

enum { FLUSH = 1 << 24 }; /* operands and results */

uint64_t ck_float_mode_flush(void) {
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" ::"r"(before | FLUSH));
  return before;
}

void ck_float_mode_restore(uint64_t before) { __asm__ volatile("msr fpcr, %0" ::"r"(before)); }

#else

uint64_t ck_float_mode_flush(void) { return 0; }

void ck_float_mode_restore(uint64_t before) { (void)before; }

#endif
