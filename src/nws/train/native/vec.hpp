// Vectors of LANES floats, one lane per image, in the compiler's own vector types: AVX-512, AVX2 and NEON from one
// text.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace nws {

// As many images side by side as a register holds.
#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
constexpr const char* INSTRUCTION_SET = "x86-64-v4";  // as CMakeLists.txt calls it
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
constexpr const char* INSTRUCTION_SET = "x86-64-v3";
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
constexpr const char* INSTRUCTION_SET = "armv8-a";
#else
constexpr int LANES = 4, REGISTERS = 16;
constexpr const char* INSTRUCTION_SET = "any";  // right, and slow: an fma is a call
#endif

// Sums over images are taken in 16 lanes on every processor, image i in lane i % 16, and then in one order (LaneSums):
// narrow registers hold a part of the lanes, block b part b % PARTS. So theta is the same to the last bit everywhere.
// Batches are multiples of 16.
constexpr int SUMMED = 16, PARTS = SUMMED / LANES;

typedef float Vec __attribute__((vector_size(4 * LANES), may_alias));
typedef float FourVec __attribute__((vector_size(16), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t BitVec __attribute__((vector_size(4 * LANES), may_alias));
typedef float UnalignedVec __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

#define NWS_INLINE \
    inline __attribute__((always_inline))  // the one macro: a tile lives in registers only if all of it is inlined

NWS_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
NWS_INLINE void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
NWS_INLINE Vec load_anywhere(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
NWS_INLINE void store_anywhere(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
// Keeps a value that was just loaded in its register. g++ 12 otherwise loads it again for every multiplication it
// stands in, and then the two loads of a cycle limit the products: 4% of a step of the largest net.
NWS_INLINE void hold(Vec& v) {
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#else
    (void)v;
#endif
}
NWS_INLINE Vec all(float x) { return x - Vec{}; }

// a * b + c, rounded once. Written out wherever it is meant: the compiler may join no product and sum by itself
// (-ffp-contract=off), because compilers, and widths under one compiler, join different ones.
NWS_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return Vec(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
#else
    for (int lane = 0; lane < LANES; lane++) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return c;
#endif
}
#if defined(__AVX__)
NWS_INLINE FourVec fma(FourVec a, FourVec b, FourVec c) { return _mm_fmadd_ps(a, b, c); }
#endif
NWS_INLINE Vec fma(float a, Vec b, Vec c) { return fma(all(a), b, c); }
NWS_INLINE Vec fma(Vec a, float b, float c) { return fma(a, all(b), all(c)); }
NWS_INLINE Vec fma(Vec a, Vec b, float c) { return fma(a, b, all(c)); }
NWS_INLINE Vec fma(Vec a, float b, Vec c) { return fma(a, all(b), c); }
NWS_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
NWS_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

NWS_INLINE Vec select(IntVec mask, Vec yes, Vec no) { return mask ? yes : no; }
NWS_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
NWS_INLINE Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
NWS_INLINE Vec clamp(Vec x, float low, float high) { return smaller(larger(x, all(low)), all(high)); }
// max(x, 0), of NaN 0: one instruction, where g++ 12 makes two of the comparison.
NWS_INLINE Vec positive_part(Vec x) {
#if defined(__AVX512F__)
    return _mm512_maskz_max_ps(__mmask16(-1), x, Vec{});  // _mm512_max_ps warns of itself in g++ 12
#elif defined(__AVX__)
    return _mm256_max_ps(x, Vec{});
#else
    return x > 0.0f ? x : Vec{};
#endif
}
// min(max(x, 0), 1). The bits of positive floats order as whole numbers do.
NWS_INLINE Vec clamp_to_unit(Vec x) {
    IntVec bits = reinterpret_cast<IntVec>(positive_part(x)), one = reinterpret_cast<IntVec>(all(1.0f));
    return reinterpret_cast<Vec>(bits < one ? bits : one);
}
NWS_INLINE Vec magnitude(Vec x) { return reinterpret_cast<Vec>(reinterpret_cast<BitVec>(x) & 0x7fffffffu); }
NWS_INLINE Vec to_float(IntVec i) { return __builtin_convertvector(i, Vec); }
NWS_INLINE IntVec to_int(Vec x) { return __builtin_convertvector(x, IntVec); }  // towards zero

// Largest whole number <= x, for |x| < 2^31.
NWS_INLINE Vec floor(Vec x) {
    Vec whole = to_float(to_int(x));
    return whole > x ? whole - 1.0f : whole;
}

template <class V, int... I>
NWS_INLINE auto add_halves(V v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, I...) + __builtin_shufflevector(v, v, (I + int(sizeof...(I)))...);
}

template <class V, int... I>
NWS_INLINE auto side_by_side(V a, V b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, I...);
}

// Vectors of four one after the other in one of LANES.
template <int COUNT, class V>
NWS_INLINE auto joined(const V* parts) {
    if constexpr (COUNT == 1)
        return parts[0];
    else {
        auto low = joined<COUNT / 2>(parts), high = joined<COUNT / 2>(parts + COUNT / 2);
        return side_by_side(low, high, std::make_integer_sequence<int, 4 * COUNT>());
    }
}

// Sum over the lanes: halves are added until four are left.
template <class V>
NWS_INLINE float sum(V v) {
    constexpr int WIDTH = sizeof(V) / sizeof(float);
    if constexpr (WIDTH == 4)
        return (v[0] + v[2]) + (v[1] + v[3]);
    else
        return sum(add_halves(v, std::make_integer_sequence<int, WIDTH / 2>()));
}

// What is summed over images, in 16 lanes of which every part has its own vector.
struct LaneSums {
    Vec part[PARTS]{};

    // add(b, into) for each block, into its part
    template <class Add>
    static NWS_INLINE LaneSums over(int blocks, Add add) {
        LaneSums sums;
        for (int b = 0; b < blocks; b += PARTS)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++) add(b + p, sums.part[p]);
        return sums;
    }

    // As `sum` of a vector of all 16.
    NWS_INLINE float sum() const {
        if constexpr (PARTS == 1)
            return nws::sum(part[0]);
        else if constexpr (PARTS == 2)
            return nws::sum(part[0] + part[1]);
        else
            return nws::sum((part[0] + part[2]) + (part[1] + part[3]));
    }
};

}  // namespace nws
