/* emulate_avx512.h: the intrinsics of the avx512 target for a processor without them, to test it there.
 * SIMDe spells them out in AVX2; its older releases lack the moves with a mask and past the caches, and the way from
 * floats to doubles. */
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

#if !defined(_mm512_cvtps_pd)
#define _mm512_cvtps_pd(a) emulated_wide(a)
static inline __m512d emulated_wide(__m256 a) {
    __m512d wide = {0};
    for (int i = 0; i < 8; i++) wide[i] = a[i];
    return wide;
}
#endif

#if !defined(_mm512_stream_ps)
#define _mm512_stream_ps(p, a) (*(__m512 *)(p) = (a))
#endif
