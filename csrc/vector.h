/* vector.h: the vocabulary in which every loop body is written.
 *
 *   LANES                      floats in a vector; vf holds them, vi as many int32
 *   + - * / < == & | ^ >>      the compiler's own operators on vectors; a comparison gives a vi mask
 *   vload vstore               any address
 *   vload_n vstore_n           the first n lanes only, never touching memory beyond; vload_n fills with 0
 *   vload_bytes vload_bytes_n  a byte a lane, as a mask of the non-zero ones
 *   vsplat vfma vsqrt          fused on targets that have it: a * b + c
 *   vmin vmax                  the second operand where either is NaN
 *   vselect(m, a, b) vbits(m)  blend by a mask; its sign bits as an integer
 *   vround vint vfloat         to the nearest whole number (|x| < 2^22); between vf and vi
 *   vsum vlargest              over the lanes, in a fixed order
 *
 * vector_<target>.h gives LANES and the words that a processor has its own
 * instruction for; what plain C says just as well stands here.
 */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint64_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef float vf_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vf vload(const float *p) { return *(const vf_anywhere *)p; }
INLINE void vstore(float *p, vf a) { *(vf_anywhere *)p = a; }
INLINE vf vsplat(float x) { return x - (vf){0}; }
INLINE vi vsplat_int(int32_t x) { return x - (vi){0}; }
INLINE vi vint(vf a) { return __builtin_convertvector(a, vi); }
INLINE vf vfloat(vi a) { return __builtin_convertvector(a, vf); }
INLINE vf vround(vf a) { return (a + 0x1.8p23f) - 0x1.8p23f; }

INLINE vi vload_bytes(const uint8_t *p) {
    vb bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, vi) != 0;
}

INLINE vi vload_bytes_n(const uint8_t *p, int64_t n) {
    vb bytes = {0};
    memcpy(&bytes, p, (size_t)n);
    return __builtin_convertvector(bytes, vi) != 0;
}

/* Lane i's index, and lane i's bit. */
INLINE vi vlane(void) {
    vi lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i;
    return lanes;
}

INLINE vi vlane_bit(void) { return vsplat_int(1) << vlane(); }

INLINE float vsum(vf a) {
    float part[LANES];
    vstore(part, a);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}
