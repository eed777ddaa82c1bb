/* Reading the CPU, and deciding from what was read: two steps, so that tests can give the second one any machine.
 *
 * An instruction set is usable only if the CPU has it AND the operating system saves its registers on a context switch,
 * which XCR0 tells: bits 1-2 are the 16- and 32-byte vectors, bits 5-7 AVX-512's masks and 64-byte vectors.
 * Virtual machines do report AVX2 without AVX, and AVX-512 without its registers. */
#include "cpu.h"

#include <stdatomic.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define X86
#endif

#define LEAF1_FMA (1u << 12)
#define LEAF1_OSXSAVE (1u << 27)
#define LEAF1_AVX (1u << 28)
#define LEAF7_AVX2 (1u << 5)
#define LEAF7_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */
#define XCR0_AVX UINT64_C(0x06)
#define XCR0_AVX512 UINT64_C(0xe6)

static int has(uint64_t bits, uint64_t wanted) { return (bits & wanted) == wanted; }

static ck_cpu read_cpu(void) {
  ck_cpu cpu = {0, 0, 0};
#ifdef X86
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d))
    cpu.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
    cpu.leaf7_ebx = b;
  if (has(cpu.leaf1_ecx, LEAF1_OSXSAVE)) { /* else XGETBV is an illegal instruction */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpu.xcr0 = (uint64_t)high << 32 | low;
  }
#endif
  return cpu;
}

int ck_isa_from_cpu(ck_cpu cpu) {
  int avx2 = has(cpu.leaf1_ecx, LEAF1_OSXSAVE | LEAF1_AVX | LEAF1_FMA) && has(cpu.leaf7_ebx, LEAF7_AVX2);
  if (!avx2 || !has(cpu.xcr0, XCR0_AVX))
    return CK_GENERIC;
  return has(cpu.leaf7_ebx, LEAF7_AVX512) && has(cpu.xcr0, XCR0_AVX512) ? CK_AVX512 : CK_AVX2;
}

int ck_cpu_offers(int isa) {
#if defined(__aarch64__)
  if (isa == CK_NEON) /* part of the architecture */
    return 1;
#endif
  return isa == CK_GENERIC || (isa != CK_NEON && isa <= ck_isa_from_cpu(read_cpu()));
}

const char *ck_isa_name(int isa) {
  static const char *const names[CK_ISAS] = {
      [CK_GENERIC] = "generic", [CK_NEON] = "neon", [CK_AVX2] = "avx2", [CK_AVX512] = "avx512"};
  return isa >= 0 && isa < CK_ISAS ? names[isa] : "unknown";
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *ck_compiler(void) {
#if defined(__clang__)
  return "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__);
#elif defined(__GNUC__)
  return "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

/* Asked once: in a virtual machine each question may leave it. */
int64_t ck_cpu_cache(int level) {
  static const int64_t common[] = {32 * 1024, 512 * 1024};
  static _Atomic int64_t known[2];
  int64_t bytes = atomic_load_explicit(&known[level - 1], memory_order_relaxed);
  if (bytes > 0)
    return bytes;
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const int names[] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE};
  bytes = sysconf(names[level - 1]);
#endif
  bytes = bytes > 0 ? bytes : common[level - 1];
  atomic_store_explicit(&known[level - 1], bytes, memory_order_relaxed);
  return bytes;
}
