/* vector.h: the vocabulary in which every loop body is written.
 *
 *   LANES                      floats in a vector; vf holds them, vi as many int32
 *   + - * / < == & | ^ >>      the compiler's own operators on vectors; a comparison gives a vi mask
 *   vload vstore               any address
 *   vstream vstream_end        past the caches to an aligned address; after the last one
 *   vload_n vstore_n           the first n lanes only, never touching memory beyond; vload_n fills with 0
 *   vload_bytes vload_bytes_n  a byte a lane, as a mask of the non-zero ones
 *   vsplat vfma vsqrt          fused on targets that have it: a * b + c
 *   vsquares(sum, p)           sum, a vd of LANES / 2 doubles, plus the squares of as many floats, which are exact in it
 *   vfused                     a * b + c rounded once on every target, where exactness hangs on it
 *   vmin vmax                  the second operand where either is NaN
 *   vselect(m, a, b) vbits(m)  blend by a mask; its sign bits as an integer
 *   vround vint vfloat         to the nearest whole number (|x| < 2^22); between vf and vi
 *   vplus vminus               on vi, modulo 2^32
 *   vsum                       over the lanes, in a fixed order
 *   vturn(x, n)                transpose the n x n squares that n vectors hold side by side
 *   vquads(p, at)              quarter q (of four lanes) holds the four floats from p + at[4 q] on
 *   vsum_each(x, n)            lane i becomes the sum of vector i
 *   vupper                     the upper half of the lanes, moved down
 *   vmul_low vxor3             on 64-bit lanes: product of the low halves; a ^ b ^ c
 *   vbits_upto(a, b, top)      a bit for each 16-bit part of a, then of b: is it at most top?
 *   vkept(bits, from, a)       a in the lanes whose bit, counted on from `from`, is set; 0 in the others
 *
 * vector_<target>.h gives LANES and the words that a processor has its own
 * instruction for; what plain C says just as well stands here.
 */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vui __attribute__((vector_size(4 * LANES)));
typedef uint64_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vw __attribute__((vector_size(4 * LANES)));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef double vd __attribute__((vector_size(4 * LANES)));
typedef float vf_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vf vload(const float *p) { return *(const vf_anywhere *)p; }
INLINE void vstore(float *p, vf a) { *(vf_anywhere *)p = a; }
#if !defined(VSTREAM)
INLINE void vstream(float *p, vf a) { vstore(p, a); }
INLINE void vstream_end(void) {}
#endif
INLINE vf vsplat(float x) { return x - (vf){0}; }
INLINE vi vsplat_int(int32_t x) { return x - (vi){0}; }
INLINE vi vint(vf a) { return __builtin_convertvector(a, vi); }
INLINE vf vfloat(vi a) { return __builtin_convertvector(a, vf); }
INLINE vi vplus(vi a, vi b) { return (vi)((vui)a + (vui)b); }
INLINE vi vminus(vi a, vi b) { return (vi)((vui)a - (vui)b); }
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

/* Shuffles of two vectors; lanes of the second count on from LANES.  Clang knows no __builtin_shuffle,
 * gcc before 12 no __builtin_shufflevector. */
#if !defined(__clang__) && __GNUC__ < 12
#define __builtin_shufflevector(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif
#if LANES == 4
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#elif LANES == 8
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define EACH_LANE(f, s) \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), \
    f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#endif
#define LOW(lane, s) ((lane) & (s) ? LANES + (lane) - (s) : (lane))
#define HIGH(lane, s) ((lane) & (s) ? LANES + (lane) : (lane) + (s))
#define UPPER(lane, s) (((lane) + (s)) % LANES)
#define VLOW(a, b, s) __builtin_shufflevector(a, b, EACH_LANE(LOW, s))
#define VHIGH(a, b, s) __builtin_shufflevector(a, b, EACH_LANE(HIGH, s))

/* So that every vector of an array lives in a register of its own. */
#define UNROLL _Pragma("GCC unroll 16")

INLINE vf vupper(vf a) { return __builtin_shufflevector(a, a, EACH_LANE(UPPER, LANES / 2)); }

/* One step of a butterfly over the pairs of n vectors that lie s apart. */
#define EACH_PAIR(s, BODY)                                                           \
    if (n > (s))                                                                     \
        UNROLL for (int i = 0; i < n; i++)                                           \
            if (!(i & (s))) {                                                        \
                const vf low = VLOW(x[i], x[i + (s)], s), high = VHIGH(x[i], x[i + (s)], s); \
                BODY;                                                                \
            }
#if LANES == 4
#define BUTTERFLY(BODY) EACH_PAIR(1, BODY(1)) EACH_PAIR(2, BODY(2))
#elif LANES == 8
#define BUTTERFLY(BODY) EACH_PAIR(1, BODY(1)) EACH_PAIR(2, BODY(2)) EACH_PAIR(4, BODY(4))
#else
#define BUTTERFLY(BODY) EACH_PAIR(1, BODY(1)) EACH_PAIR(2, BODY(2)) EACH_PAIR(4, BODY(4)) EACH_PAIR(8, BODY(8))
#endif

#define TURN_PAIR(s) (x[i] = low, x[i + (s)] = high)
INLINE void vturn(vf *x, const int n) { BUTTERFLY(TURN_PAIR) }

/* After the step s, lane l of x[i] holds a partial sum of vector i + l % (2 s). */
#define ADD_PAIR(s) (x[i] = low + high)
INLINE vf vsum_each(vf *x, const int n) { /* n is LANES or half of it; x is spent */
    BUTTERFLY(ADD_PAIR)
    return n == LANES ? x[0] : x[0] + vupper(x[0]);
}
