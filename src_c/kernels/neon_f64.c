#define REAL double
#define REAL_IS_FLOAT 0
#define VBYTES 16
#define REGISTERS 32
#define CK_SUFFIX f64__neon
#define CK_ISA CK_NEON
#include "table.h"
