/* vector_avx2.h: eight lanes, for processors with AVX2 and FMA (Haswell 2013, Zen 2017 and later). */
#define LANES 8
#define VSTREAM
#include "vector.h"

INLINE void vstream(float *p, vf a) { _mm256_stream_ps(p, a); }
INLINE void vstream_end(void) { _mm_sfence(); }
typedef uint32_t vbits4;

INLINE __m256i vfirst(int64_t n) { return (__m256i)(vlane() < vsplat_int((int32_t)n)); }
INLINE vf vload_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vfirst(n)); }
INLINE void vstore_n(float *p, vf a, int64_t n) { /* AMD takes a dozen cycles for a masked store */
    if (n >= LANES) { vstore(p, a); return; }
    __m128 rest = _mm256_castps256_ps128(a);
    if (n & 4) _mm_storeu_ps(p, rest), p += 4, rest = _mm256_extractf128_ps(a, 1);
    if (n & 2) _mm_storel_pi((__m64 *)p, rest), p += 2, rest = _mm_movehl_ps(rest, rest);
    if (n & 1) _mm_store_ss(p, rest);
}
INLINE vf vquads(const float *p, const int32_t *at) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + at[0])), _mm_loadu_ps(p + at[4]), 1);
}
INLINE vf vselect(vi m, vf a, vf b) { return _mm256_blendv_ps(b, a, (vf)m); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vfused(vf a, vf b, vf c) { return vfma(a, b, c); }
INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vd vsquares(vd sum, const float *p) {
    const vd x = _mm256_cvtps_pd(_mm_loadu_ps(p));
    return _mm256_fmadd_pd(x, x, sum);
}
INLINE vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
INLINE uint32_t vbits(vi m) { return (uint32_t)_mm256_movemask_ps((vf)m); }
INLINE vu vmul_low(vu a, vu b) { return (vu)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
INLINE vu vxor3(vu a, vu b, vu c) { return a ^ b ^ c; }
INLINE vf vkept(vbits4 bits, int from, vf a) {
    const vi bit = vlane_bit() << from;
    return (vf)((vi)a & ((vsplat_int((int32_t)bits) & bit) == bit));
}
INLINE vbits4 vbits_upto(vi a, vi b, uint16_t top) {
    const __m256i limit = _mm256_set1_epi16((short)top);
    const __m256i first = _mm256_cmpeq_epi16(_mm256_min_epu16((__m256i)a, limit), (__m256i)a);
    const __m256i second = _mm256_cmpeq_epi16(_mm256_min_epu16((__m256i)b, limit), (__m256i)b);
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(first, second), 0xD8));
}

#define FEW_TERMS 4
enum { TILE_ROWS = 6, TILE_VECTORS = 2, BLOCK_M = 96, BLOCK_K = 384, BLOCK_N = 512, DIRECT_M = 96,
       DOT_ROWS = 4, DOTS_M = 8, SHALLOW = 32768 };
