#define REAL float
#define REAL_IS_FLOAT 1
#define VBYTES 32
#define REGISTERS 16
#define CK_SUFFIX f32__avx2
#define CK_ISA CK_AVX2
#include "table.h"
