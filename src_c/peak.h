/* What a table of kernels offers for measuring the machine: see kernels/peak.h, which writes them, and peak.c. */
#ifndef CK_PEAK_H
#define CK_PEAK_H

#include <stdint.h>

/* Bytes at fma's `sink`: zeros, 64-byte aligned. */
enum { CK_PEAK_SINK = 24 * 64 };

typedef struct ck_peak_kernels {
  void (*fma)(int64_t iterations, void *sink); /* independent chains of multiply-adds, nothing else */
  int64_t fma_flops;                           /* of one iteration */
  void (*triad)(void *a, const void *b, const void *c, int64_t bytes); /* a = b + s*c; all in whole 64 bytes, aligned */
} ck_peak_kernels;

#endif
