#define REAL double
#define REAL_IS_FLOAT 0
#define VBYTES 32
#define REGISTERS 16
#define CK_SUFFIX f64__avx2
#define CK_ISA CK_AVX2
#include "table.h"
