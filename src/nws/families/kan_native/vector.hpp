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
#if defined(__AVX512F__)
constexpr const char* INSTRUCTION_SET = "x86-64-v4";  // as CMakeLists.txt calls it
#elif defined(__AVX__)
constexpr const char* INSTRUCTION_SET = "x86-64-v3";
#elif defined(__aarch64__)
constexpr const char* INSTRUCTION_SET = "armv8-a";
#else
constexpr const char* INSTRUCTION_SET = "any";
#endif

#define KAN_INLINE inline __attribute__((always_inline))  // accumulators live in registers only if all of it is inlined

// A vector is one register, or two of half the width: the compiler's own vectors of 64 bytes would lie in memory without AVX-512.
#if defined(__AVX512F__)
constexpr int PARTS = 1;
#else
constexpr int PARTS = 2;
#endif
constexpr int WIDTH = LANES / PARTS;
typedef float Part __attribute__((vector_size(4 * WIDTH), may_alias));
typedef int32_t IntPart __attribute__((vector_size(4 * WIDTH), may_alias));

struct Vec {
    Part part[PARTS];
    float lane(int k) const { return part[k / WIDTH][k % WIDTH]; }
};

KAN_INLINE Part all_of_part(float x) { return x - Part{}; }
KAN_INLINE Vec all(float x) {
    Vec v;
    for (Part& p : v.part) p = all_of_part(x);
    return v;
}
template <class Operation>
KAN_INLINE Vec by_part(Operation operation, Vec a, Vec b = {}, Vec c = {}) {
    Vec v;
    for (int k = 0; k < PARTS; k++) v.part[k] = operation(a.part[k], b.part[k], c.part[k]);
    return v;
}

KAN_INLINE Vec load(const float* p) {
    Vec v;
    for (int k = 0; k < PARTS; k++) v.part[k] = *reinterpret_cast<const Part*>(p + k * WIDTH);
    return v;
}
KAN_INLINE void store(float* p, Vec v) {
    for (int k = 0; k < PARTS; k++) *reinterpret_cast<Part*>(p + k * WIDTH) = v.part[k];
}

KAN_INLINE Vec operator+(Vec a, Vec b) { return by_part([](Part x, Part y, Part) { return x + y; }, a, b); }
KAN_INLINE Vec operator-(Vec a, Vec b) { return by_part([](Part x, Part y, Part) { return x - y; }, a, b); }
KAN_INLINE Vec operator*(Vec a, Vec b) { return by_part([](Part x, Part y, Part) { return x * y; }, a, b); }
KAN_INLINE Vec operator/(Vec a, Vec b) { return by_part([](Part x, Part y, Part) { return x / y; }, a, b); }
KAN_INLINE Vec operator+(Vec a, float b) { return a + all(b); }
KAN_INLINE Vec operator-(Vec a, float b) { return a - all(b); }
KAN_INLINE Vec operator*(Vec a, float b) { return a * all(b); }
KAN_INLINE Vec operator+(float a, Vec b) { return all(a) + b; }
KAN_INLINE Vec operator-(float a, Vec b) { return all(a) - b; }
KAN_INLINE Vec operator*(float a, Vec b) { return all(a) * b; }
KAN_INLINE Vec operator/(float a, Vec b) { return all(a) / b; }
KAN_INLINE Vec operator-(Vec a) { return all(0) - a; }
KAN_INLINE Vec& operator+=(Vec& a, Vec b) { return a = a + b; }

// a b + c, rounded once.
KAN_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return by_part(
        [](Part x, Part y, Part z) {
#if defined(__AVX512F__)
            return Part(_mm512_fmadd_ps(__m512(x), __m512(y), __m512(z)));
#elif defined(__FMA__)
            return Part(_mm256_fmadd_ps(__m256(x), __m256(y), __m256(z)));
#else
            for (int lane = 0; lane < WIDTH; lane++) z[lane] = std::fma(x[lane], y[lane], z[lane]);
            return z;
#endif
        },
        a, b, c);
}
KAN_INLINE Vec fma(float a, Vec b, Vec c) { return fma(all(a), b, c); }

// NaN becomes `low`: what it indexes later must exist.
KAN_INLINE Vec clamp(Vec x, float low, float high) {
    return by_part(
        [](Part v, Part least, Part most) {
            v = v > least ? v : least;
            return v < most ? v : most;
        },
        x, all(low), all(high));
}
KAN_INLINE Vec smaller(Vec a, Vec b) {
    return by_part([](Part x, Part y, Part) { return x < y ? x : y; }, a, b);
}
KAN_INLINE Vec magnitude(Vec a) {
    return by_part([](Part x, Part, Part) { return x < 0 ? -x : x; }, a);
}
// The largest whole number <= x, for |x| < 2^31.
KAN_INLINE Vec floor(Vec a) {
    return by_part(
        [](Part x, Part, Part) {
            Part whole = __builtin_convertvector(__builtin_convertvector(x, IntPart), Part);
            return whole > x ? whole - 1.0f : whole;
        },
        a);
}
KAN_INLINE void store_whole(int32_t* p, Vec v) {
    for (int k = 0; k < PARTS; k++)
        *reinterpret_cast<IntPart*>(p + k * WIDTH) = __builtin_convertvector(v.part[k], IntPart);
}
KAN_INLINE Vec square_root(Vec v) {
    for (Part& p : v.part)
        for (int lane = 0; lane < WIDTH; lane++) p[lane] = std::sqrt(p[lane]);  // compiles to one instruction
    return v;
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
    Vec scale = by_part(
        [](Part whole, Part, Part) { return reinterpret_cast<Part>((__builtin_convertvector(whole, IntPart) + 127) << 23); }, n);
    return scale * (p * r * r + r) + scale;
}

KAN_INLINE float sum(Vec v) {
    typedef float Half __attribute__((vector_size(32)));
    typedef float Quarter __attribute__((vector_size(16)));
#if defined(__AVX512F__)
    Part p = v.part[0];
    Half h = __builtin_shufflevector(p, p, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(p, p, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    Half h = v.part[0] + v.part[1];
#endif
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
