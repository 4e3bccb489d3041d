/* vector_portable.h: four lanes of plain C with the compiler's vector extension; any processor. */
#define LANES 4
#include "vector.h"

typedef uint16_t vbits4;

INLINE vf vload_n(const float *p, int64_t n) {
    vf a = {0};
    memcpy(&a, p, (size_t)n * sizeof *p);
    return a;
}
INLINE void vstore_n(float *p, vf a, int64_t n) { memcpy(p, &a, (size_t)n * sizeof *p); }
INLINE vf vquads(const float *p, const int32_t *at) { return vload(p + at[0]); }
INLINE vf vselect(vi m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vf vfma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf vfused(vf a, vf b, vf c) {
    for (int i = 0; i < LANES; i++) a[i] = (float)((double)a[i] * b[i] + c[i]);
    return a;
}
INLINE vf vmin(vf a, vf b) { return vselect(a < b, a, b); }
INLINE vf vmax(vf a, vf b) { return vselect(a > b, a, b); }
INLINE vd vsquares(vd sum, const float *p) {
    const vd x = {(double)p[0], (double)p[1]};
    return sum + x * x;
}
INLINE vf vsqrt(vf a) {
    for (int i = 0; i < LANES; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE uint32_t vbits(vi m) {
    uint32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= ((uint32_t)m[i] >> 31) << i;
    return bits;
}
#if defined(__SSE2__) /* gcc would spell the product out in shifts and sums */
#include <emmintrin.h>
INLINE vu vmul_low(vu a, vu b) { return (vu)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
INLINE vu vmul_low(vu a, vu b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif
INLINE vu vxor3(vu a, vu b, vu c) { return a ^ b ^ c; }
INLINE vf vkept(vbits4 bits, int from, vf a) {
    const vi bit = vlane_bit() << from;
    return (vf)((vi)a & ((vsplat_int((int32_t)bits) & bit) == bit));
}
INLINE vbits4 vbits_upto(vi a, vi b, uint16_t top) {
    const vw bit = {1, 2, 4, 8, 16, 32, 64, 128}, limit = top - (vw){0};
    const vu first = (vu)(((vw)a <= limit) & bit), second = (vu)(((vw)b <= limit) & bit);
    uint64_t both = first[0] | first[1] | (second[0] | second[1]) << 8;
    both |= both >> 32;
    return (vbits4)(both | both >> 16);
}

#define FEW_TERMS 4
enum { TILE_ROWS = 4, TILE_VECTORS = 2, BLOCK_M = 128, BLOCK_K = 256, BLOCK_N = 512, DIRECT_M = 32,
       DOT_ROWS = 4, DOTS_M = 4, SHALLOW = 32768 };
