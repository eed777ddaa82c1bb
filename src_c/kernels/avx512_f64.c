#define REAL double
#define REAL_IS_FLOAT 0
#define VBYTES 64
#define REGISTERS 32
#define CK_SUFFIX f64__avx512
#define CK_ISA CK_AVX512
#include "table.h"
