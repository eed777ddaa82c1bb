#define REAL float
#define REAL_IS_FLOAT 1
#define VBYTES 16
#define REGISTERS 32
#define CK_SUFFIX f32__neon
#define CK_ISA CK_NEON
#include "table.h"
