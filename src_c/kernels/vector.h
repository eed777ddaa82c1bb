/* What every kernel template is written against.  The including file defines, before anything else:
 *   REAL          float or double            REAL_IS_FLOAT  1 or 0
 *   VBYTES        bytes of a vector: 16, 32 or 64
 *   CK_SUFFIX     f32__avx512 and the like: the tail of every symbol
 * All helpers are static: were they not, the linker would merge instruction sets. */
#ifndef CK_VECTOR_H
#define CK_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CK_GLUE2(a, b) a##_##b
#define CK_GLUE(a, b) CK_GLUE2(a, b)
#define CK_NAME(stem) CK_GLUE(ck_##stem, CK_SUFFIX)
#define CK_INLINE static inline __attribute__((always_inline, unused))

/* Before a loop over a register tile. Clang ignores GCC's spelling where the count is known only after inlining, and
 * the tile would live in memory. CK_ROLLED: before one of as many turns as a vector has lanes, or fewer, which GCC
 * would write out: sixteen exponentials, one after the other. */
#ifdef __clang__
#define CK_UNROLL _Pragma("clang loop unroll(full)")
#define CK_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define CK_UNROLL _Pragma("GCC unroll 32")
#define CK_ROLLED _Pragma("GCC unroll 1")
#endif

/* An integer or pointer that the compiler does not see through: what is decided by one in a loop is not decided before
 * it, with a copy of the loop for either answer. */
#define CK_OPAQUE(x) __asm__("" : "+r"(x))

/* An instruction by its name, where the compiler would not think of it. */
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#if VBYTES == 64
#define V_NAMED(op) CK_GLUE(_mm512_##op, V_TYPE)
#elif VBYTES == 32
#define V_NAMED(op) CK_GLUE(_mm256_##op, V_TYPE)
#else
#define V_NAMED(op) CK_GLUE(_mm_##op, V_TYPE)
#endif
#if REAL_IS_FLOAT
#define V_TYPE ps
#else
#define V_TYPE pd
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#if REAL_IS_FLOAT
#define V_NAMED(op) v##op##q_f32
#else
#define V_NAMED(op) v##op##q_f64
#endif
#endif

/* What runs on any CPU of x86, and is fastest on few: it is made small, with fewer forms of a kernel. */
#define SMALL (VBYTES == 16 && REGISTERS == 16)

#define VL (VBYTES / (int)sizeof(REAL)) /* reals in a vector */

typedef REAL vreal __attribute__((vector_size(VBYTES)));
typedef REAL vreal_a __attribute__((vector_size(VBYTES), may_alias));
/* The same vector at any address: user memory promises no alignment at all. */
typedef REAL vreal_u __attribute__((vector_size(VBYTES), may_alias, aligned(1)));
/* One real at any address. */
typedef REAL real_u __attribute__((may_alias, aligned(1)));

#if REAL_IS_FLOAT
typedef int32_t vmask __attribute__((vector_size(VBYTES)));
typedef uint32_t lane_bits;
#else
typedef int64_t vmask __attribute__((vector_size(VBYTES)));
typedef uint64_t lane_bits;
#endif
typedef lane_bits vbits __attribute__((vector_size(VBYTES)));

typedef __typeof__(((vmask){0})[0]) lane_int; /* an integer as wide as a real */

typedef union lanes {
  vreal v;
  vmask m;
  REAL real[VL];
  lane_int integer[VL];
} lanes;

/* Whether lane j < n. */
CK_INLINE vmask lanes_below(int64_t n) {
  lanes lane;
  for (int j = 0; j < VL; j++)
    lane.integer[j] = j;
  return lane.m < (lane_int)(n < VL ? n : VL);
}

CK_INLINE vreal v_load(const void *p) { return *(const vreal_a *)p; }
CK_INLINE vreal v_loadu(const void *p) { return *(const vreal_u *)p; }
CK_INLINE void v_store(void *p, vreal v) { *(vreal_a *)p = v; }
CK_INLINE void v_storeu(void *p, vreal v) { *(vreal_u *)p = v; }
CK_INLINE vreal v_set1(REAL a) { return a - (vreal){0}; }

/* A vector of any type is formed here: the compiler neither looks through it nor moves it. Of a sum of two products,
 * one is pinned: which of them is rounded before it is added would else be the compiler's choice, and another for each
 * vector. */
#if defined(__x86_64__) || defined(__i386__)
#define CK_PIN(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define CK_PIN(v) __asm__("" : "+w"(v))
#else
#define CK_PIN(v) __asm__("" : "+m"(v))
#endif
CK_INLINE vreal v_pinned(vreal v) {
  CK_PIN(v);
  return v;
}

/* sum + a * b, rounded once where the machine can: unless pinned, a product may be moved into the branches that b comes
 * from, or sum, where GCC no longer fuses it with its sum, and bits would depend on the route. */
CK_INLINE vreal v_add_product(vreal sum, vreal a, vreal b) { return sum + a * v_pinned(b); }

#endif
