#define REAL double
#define REAL_IS_FLOAT 0
#define VBYTES 16
#define REGISTERS 16
#define CK_SUFFIX f64__generic
#define CK_ISA CK_GENERIC
#include "table.h"
