#define REAL float
#define REAL_IS_FLOAT 1
#define VBYTES 64
#define REGISTERS 32
#define CK_SUFFIX f32__avx512
#define CK_ISA CK_AVX512
#include "table.h"
