/* vector_avx512.h: sixteen lanes with mask registers (Skylake-X 2017, Zen 4 2022 and later). */
#define LANES 16
#define VSTREAM
#include "vector.h"

INLINE void vstream(float *p, vf a) { _mm512_stream_ps(p, a); }
INLINE void vstream_end(void) { _mm_sfence(); }
typedef uint64_t vbits4;

INLINE __mmask16 vfirst(int64_t n) { return (__mmask16)((1u << n) - 1u); }
INLINE vf vload_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(vfirst(n), p); }
INLINE void vstore_n(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, vfirst(n), a); }
INLINE vf vquads(const float *p, const int32_t *at) {
    vf a = _mm512_castps128_ps512(_mm_loadu_ps(p + at[0]));
    a = _mm512_insertf32x4(a, _mm_loadu_ps(p + at[4]), 1);
    a = _mm512_insertf32x4(a, _mm_loadu_ps(p + at[8]), 2);
    return _mm512_insertf32x4(a, _mm_loadu_ps(p + at[12]), 3);
}
INLINE uint32_t vbits(vi m) { return _mm512_movepi32_mask((__m512i)m); }
INLINE vf vselect(vi m, vf a, vf b) { return _mm512_mask_blend_ps((__mmask16)vbits(m), b, a); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vfused(vf a, vf b, vf c) { return vfma(a, b, c); }
INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vd vsquares(vd sum, const float *p) {
    const vd x = _mm512_cvtps_pd(_mm256_loadu_ps(p));
    return _mm512_fmadd_pd(x, x, sum);
}
INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
#if !defined(MINIGRAD_EMULATE_AVX512) /* older SIMDe lacks it */
#define VSCALE
INLINE vf vscale(vf a, vf k) { return _mm512_scalef_ps(a, k); }
#endif
INLINE vu vmul_low(vu a, vu b) { return (vu)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
INLINE vu vxor3(vu a, vu b, vu c) { return (vu)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96); }
INLINE vf vkept(vbits4 bits, int from, vf a) { return _mm512_maskz_mov_ps((__mmask16)(bits >> from), a); }
INLINE vbits4 vbits_upto(vi a, vi b, uint16_t top) {
    const __m512i limit = _mm512_set1_epi16((short)top);
    const vbits4 upper = _mm512_cmple_epu16_mask((__m512i)b, limit);
    return _mm512_cmple_epu16_mask((__m512i)a, limit) | upper << 32;
}

#define FEW_TERMS 8
enum { TILE_ROWS = 8, TILE_VECTORS = 3, BLOCK_M = 256, BLOCK_K = 512, BLOCK_N = 1536, DIRECT_M = 264,
       DOT_ROWS = 8, DOTS_M = 11, SHALLOW = 131072 };
