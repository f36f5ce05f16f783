// Vectors of 16 floats, whatever the registers are: sums have the same order on every machine. A product and a sum are rounded once
// where `fma` stands, and nowhere else (the compiler is told not to join others), so that theta has the same bits everywhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace kan {

constexpr int LANES = 16;
typedef float Vec __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * LANES), may_alias));

#define KAN_INLINE inline __attribute__((always_inline))  // accumulators live in registers only if all of it is inlined

KAN_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
KAN_INLINE void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
KAN_INLINE Vec all(float x) { return x - Vec{}; }
KAN_INLINE Vec to_float(IntVec i) { return __builtin_convertvector(i, Vec); }
KAN_INLINE IntVec to_int(Vec x) { return __builtin_convertvector(x, IntVec); }  // towards zero

// a b + c, rounded once.
KAN_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return reinterpret_cast<Vec>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__FMA__)
    struct Halves {
        __m256 low, high;
    };
    Halves x, y, z;
    std::memcpy(&x, &a, 64), std::memcpy(&y, &b, 64), std::memcpy(&z, &c, 64);
    z = {_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)};
    std::memcpy(&c, &z, 64);
    return c;
#else
    for (int lane = 0; lane < LANES; lane++) c[lane] = std::fma(a[lane], b[lane], c[lane]);
    return c;
#endif
}
KAN_INLINE Vec fma(float a, Vec b, Vec c) { return fma(all(a), b, c); }

// NaN becomes `low`: what it indexes later must exist.
KAN_INLINE Vec clamp(Vec x, float low, float high) {
    x = x > low ? x : all(low);
    return x < high ? x : all(high);
}

KAN_INLINE Vec floor(Vec x) {
    Vec whole = to_float(to_int(x));
    return whole > x ? whole - 1.0f : whole;
}

KAN_INLINE Vec square_root(Vec x) {
    Vec root;
    for (int lane = 0; lane < LANES; lane++) root[lane] = std::sqrt(x[lane]);  // compiles to one instruction
    return root;
}

// e^x within two units in the last place; beyond -87 and 88 as there. Cephes' polynomial.
KAN_INLINE Vec exponential(Vec x) {
    x = clamp(x, -87.0f, 88.0f);
    Vec n = floor(x * 1.44269504f + 0.5f);
    Vec r = x - n * 0.693359375f;  // log 2 in two parts, the first exact in few bits
    r = r + n * 2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    Vec scale = reinterpret_cast<Vec>((to_int(n) + 127) << 23);
    return scale * (p * r * r + r) + scale;
}

KAN_INLINE float sum(Vec v) {
    typedef float Half __attribute__((vector_size(32)));
    typedef float Quarter __attribute__((vector_size(16)));
    Half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    Quarter q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
    return (q[0] + q[2]) + (q[1] + q[3]);
}

// While it lives, vanishing numbers are 0: moments of Adam that die away otherwise cost a hundred times an ordinary product.
struct NoDenormals {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
    NoDenormals() { _mm_setcsr(before | 0x8040); }
    ~NoDenormals() { _mm_setcsr(before); }
#else
    NoDenormals() {}
    ~NoDenormals() {}
#endif
};

}  // namespace kan
