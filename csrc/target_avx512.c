/* target_avx512.c: the kernels for processors with AVX-512 F, BW, DQ and VL. */
#include "minigrad.h"
#if defined(__x86_64__) && defined(__GNUC__)
#if defined(MINIGRAD_EMULATE_AVX512)
#include "emulate_avx512.h"
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif
#include <immintrin.h>
#include "vector_avx512.h"
#define TARGET(name) name##_avx512
#include "kernels.inc"
#if defined(__clang__) && !defined(MINIGRAD_EMULATE_AVX512)
#pragma clang attribute pop
#endif
#endif
