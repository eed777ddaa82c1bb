#define REAL float
#define REAL_IS_FLOAT 1
#define VBYTES 16
#define REGISTERS 16
#define CK_SUFFIX f32__generic
#define CK_ISA CK_GENERIC
#include "table.h"
