// Vectors of LANES floats, one lane per image, in the compiler's own vector types: AVX-512, AVX2 and NEON from one
// text.
#pragma once

#include <cstdint>
#include <utility>

namespace nws {

// As many images side by side as a register holds. Batches are multiples of 16, so every width divides them.
#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES), may_alias));
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

NWS_INLINE Vec select(IntVec mask, Vec yes, Vec no) { return mask ? yes : no; }
NWS_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
NWS_INLINE Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
NWS_INLINE Vec clamp(Vec x, float low, float high) { return smaller(larger(x, all(low)), all(high)); }
// max(x, 0) and min(max(x, 0), 1). The bits of floats order as whole numbers do: one instruction per bound, where g++
// 12 makes two of a comparison of floats. NaN stays NaN in the first.
NWS_INLINE Vec positive_part(Vec x) {
    IntVec bits = reinterpret_cast<IntVec>(x);
    return reinterpret_cast<Vec>(bits > 0 ? bits : IntVec{});
}
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

}  // namespace nws
