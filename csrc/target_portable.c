/* target_portable.c: the kernels for any processor. */
#include "minigrad.h"
#include "vector_portable.h"
#define TARGET(name) name##_portable
#include "kernels.inc"
