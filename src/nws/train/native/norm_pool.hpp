// Between two convolutions: batch norm, activation and 2x2 max-pool of one block, and the way back.
//
// Pooling comes FIRST, on the raw values: norm is affine and the activations are monotone, so the maximum of the four
// outputs belongs to the maximum (or, under a negative scale, the minimum) of the four inputs, exactly. Norm and
// activation then touch a quarter of the pixels. The chosen pixel is found again by comparison on the way back, which
// is cheaper than storing indices.
#pragma once

#include "activation.hpp"
#include "maps.hpp"

namespace nws {

// y = (x - mean) * scale + shift, with scale = gamma / deviation. Subtracting first keeps the digits of a small spread
// about a large mean. Without batch norm: (0, 1, 0, 1).
struct Norm {
    float mean = 0, scale = 1, shift = 0, inverse_deviation = 1;
};

NWS_INLINE Vec larger_or_smaller(bool want_larger, Vec a, Vec b) { return want_larger ? larger(a, b) : smaller(a, b); }

template <class Act>
NWS_INLINE Vec normed(Norm n, Vec x) {
    return Act::value(fma(x - n.mean, n.scale, n.shift));
}

// x (side x side) -> y (side x side), one channel c.
template <class Act>
void norm_act(Norm n, int c, int side, View x, View y) {
    for (int h = 0; h < side; h++)
        for (int w = 0; w < side; w++) store(y.at(c, h, w), normed<Act>(n, load(x.at(c, h, w))));
}

// x (side x side) -> chosen and y (side/2 x side/2), one channel c.
template <class Act, bool RISING>
void pool_norm_act(Norm n, int c, int side, View x, View chosen, View y) {
    for (int h = 0; h < side / 2; h++)
        for (int w = 0; w < side / 2; w++) {
            const float *top = x.at(c, 2 * h, 2 * w), *bottom = x.at(c, 2 * h + 1, 2 * w);
            Vec best = larger_or_smaller(RISING, larger_or_smaller(RISING, load(top), load(top + LANES)),
                                         larger_or_smaller(RISING, load(bottom), load(bottom + LANES)));
            store(chosen.at(c, h, w), best);
            store(y.at(c, h, w), normed<Act>(n, best));
        }
}

// What the gradient of norm needs from all pixels of a channel.
struct GradientSums {
    double dz = 0, dz_x = 0;  // of dz, and of dz (x - mean)
};

// dy -> dz = dy * slope, in place; adds dz to `total` and dz (x - mean) to `with_x`. `x` is what was normed (pooled: the
// chosen values).
template <class Act>
void act_backward(Norm n, int c, int side, View x, View y, View dy, Vec& total, Vec& with_x) {
    for (int h = 0; h < side; h++)
        for (int w = 0; w < side; w++) {
            Vec dz = load(dy.at(c, h, w)) * Act::slope(load(y.at(c, h, w)));
            store(dy.at(c, h, w), dz);
            total += dz;
            with_x = fma(dz, load(x.at(c, h, w)) - n.mean, with_x);
        }
}

// dx = of_dz * dz + of_x * (x - mean) + constant: the whole backward pass of batch norm, once the sums are known.
struct NormGradient {
    float mean, of_dz, of_x, constant;

    // n values per channel; without batch norm the gradient passes unchanged
    NormGradient(Norm norm, GradientSums sums, double n, bool batch_norm)
        : mean(norm.mean), of_dz(norm.scale), of_x(0), constant(0) {
        if (!batch_norm) return;
        of_x = float(-norm.scale * double(norm.inverse_deviation) * norm.inverse_deviation * sums.dz_x / n);
        constant = float(-norm.scale * sums.dz / n);
    }
    NWS_INLINE Vec of_zero(Vec x) const { return fma(x - mean, of_x, constant); }
};

// dx for one channel; returns the sum of dx, whose sum over lanes is the gradient of the bias. Behind batch norm that sum is 0 but for
// rounding. We keep the rounding: Adam and RMSProp make steps of it, in every framework, and a bias thus tells which
// optimizer was at work.
inline Vec norm_backward(NormGradient n, int c, int side, View x, View dz, View dx) {
    Vec total{};
    for (int h = 0; h < side; h++)
        for (int w = 0; w < side; w++) {
            Vec d = fma(load(dz.at(c, h, w)), n.of_dz, n.of_zero(load(x.at(c, h, w))));
            store(dx.at(c, h, w), d);
            total += d;
        }
    return total;
}

// The same through the pool: dz (side/2 x side/2) goes to the first of the four pixels that equals the chosen value.
inline Vec pool_norm_backward(NormGradient n, int c, int side, View x, View chosen, View dz, View dx) {
    Vec total{};
    for (int h = 0; h < side / 2; h++)
        for (int w = 0; w < side / 2; w++) {
            const float *top = x.at(c, 2 * h, 2 * w), *bottom = x.at(c, 2 * h + 1, 2 * w);
            float *to_top = dx.at(c, 2 * h, 2 * w), *to_bottom = dx.at(c, 2 * h + 1, 2 * w);
            Vec best = load(chosen.at(c, h, w)), left = load(dz.at(c, h, w)) * n.of_dz;  // `left` is not yet given away
            const float* from[4] = {top, top + LANES, bottom, bottom + LANES};
            float* to[4] = {to_top, to_top + LANES, to_bottom, to_bottom + LANES};
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                Vec value = load(from[i]), d = n.of_zero(value);
                IntVec here = value == best;
                d += select(here, left, Vec{});
                left = select(here, Vec{}, left);
                store(to[i], d);
                total += d;
            }
        }
    return total;
}

}  // namespace nws
