/* emulate_avx512.h: the intrinsics of the avx512 target for a processor without them, to test it there.
 * SIMDe spells them out in AVX2; its older releases lack the two masked moves. */
#pragma GCC target("avx2,fma")
#include <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#if !defined(_mm512_maskz_loadu_ps)
#define _mm512_maskz_loadu_ps(mask, p) emulated_load(mask, p)
static inline __m512 emulated_load(__mmask16 mask, const float *p) {
    __m512 a = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) a[i] = p[i];
    return a;
}
#endif

#if !defined(_mm512_mask_storeu_ps)
#define _mm512_mask_storeu_ps(p, mask, a) emulated_store(p, mask, a)
static inline void emulated_store(float *p, __mmask16 mask, __m512 a) {
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) p[i] = a[i];
}
#endif
