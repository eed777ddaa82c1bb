#include "dispatch.h"

#include <stdatomic.h>

#include "cpu.h"

extern const ck_kernels ck_kernels_f32__generic, ck_kernels_f64__generic;
extern const ck_kernels ck_kernels_f32__neon, ck_kernels_f64__neon;
extern const ck_kernels ck_kernels_f32__avx2, ck_kernels_f64__avx2;
extern const ck_kernels ck_kernels_f32__avx512, ck_kernels_f64__avx512;

/* What was built; the portable kernels always are. */
static const ck_kernels *const tables[CK_ISAS][CK_DTYPES] = {
    [CK_GENERIC] = {&ck_kernels_f32__generic, &ck_kernels_f64__generic},
#ifdef CK_HAVE_NEON
    [CK_NEON] = {&ck_kernels_f32__neon, &ck_kernels_f64__neon},
#endif
#ifdef CK_HAVE_AVX2
    [CK_AVX2] = {&ck_kernels_f32__avx2, &ck_kernels_f64__avx2},
#endif
#ifdef CK_HAVE_AVX512
    [CK_AVX512] = {&ck_kernels_f32__avx512, &ck_kernels_f64__avx512},
#endif
};

static atomic_int current = -1; /* -1: not chosen yet */

int ck_isa_built(int isa) { return isa >= 0 && isa < CK_ISAS && tables[isa][CK_F32]; }

int ck_isa_available(int isa) { return ck_isa_built(isa) && ck_cpu_offers(isa); }

int ck_isa_current(void) {
  int isa = atomic_load_explicit(&current, memory_order_relaxed);
  for (int i = CK_ISAS - 1; isa < 0 && i >= 0; i--) {
    if (ck_isa_available(i))
      ck_isa_set(isa = i);
  }
  return isa;
}

int ck_isa_set(int isa) {
  if (!ck_isa_available(isa))
    return -1;
  atomic_store_explicit(&current, isa, memory_order_relaxed);
  return 0;
}

const ck_kernels *ck_kernels_for(int dtype) { return ck_kernels_of(ck_isa_current(), dtype); }

const ck_kernels *ck_kernels_of(int isa, int dtype) { return tables[isa][dtype]; }
