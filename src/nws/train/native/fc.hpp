// Products of a fully connected layer: z = W x + b, dx = W^T dz, dW = dz x^T. Units lie [block][unit][lane] (maps.hpp).
//
// Register tiles as in the convolutions. A tile that hangs over the edge computes its last row again instead of having
// a loop of its own.
#pragma once

#include <algorithm>

#include "maps.hpp"

namespace nws {

constexpr int OUT_TILE = 4;                       // units of z per tile
constexpr int IN_TILE = REGISTERS == 32 ? 8 : 4;  // units of dx per tile
constexpr int COLUMNS = REGISTERS == 32 ? 4 : 2;  // vectors along a row of dW per tile

template <int BLOCKS>
inline void fc_forward_blocks(const float* weight, const float* bias, Units& x, Units& z, int block) {
    int in = x.count(), out = z.count();
    for (int o = 0; o < out; o += OUT_TILE) {
        const float* row[OUT_TILE];
        Vec sums[OUT_TILE][BLOCKS];
#pragma GCC unroll 8
        for (int i = 0; i < OUT_TILE; i++) {
            int unit = std::min(o + i, out - 1);
            row[i] = weight + long(unit) * in;
#pragma GCC unroll 8
            for (int b = 0; b < BLOCKS; b++) sums[i][b] = all(bias[unit]);
        }
        const float* from = x.block(block);
        for (int k = 0; k < in; k++)
#pragma GCC unroll 8
            for (int i = 0; i < OUT_TILE; i++)
#pragma GCC unroll 8
                for (int b = 0; b < BLOCKS; b++) sums[i][b] = fma(row[i][k], load(from + (long(b) * in + k) * LANES), sums[i][b]);
#pragma GCC unroll 8
        for (int i = 0; i < OUT_TILE; i++)
#pragma GCC unroll 8
            for (int b = 0; b < BLOCKS; b++) store(z.unit(block + b, std::min(o + i, out - 1)), sums[i][b]);
    }
}

// dx of IN_TILE inputs; `panel` holds their weights, [out][IN_TILE].
template <int BLOCKS>
inline void fc_input_gradient_tile(const float* panel, Units& dz, Units& dx, int block, int first) {
    Vec sums[IN_TILE][BLOCKS]{};
    const float* from = dz.block(block);
    long step = long(dz.count()) * LANES;
    for (int o = 0; o < dz.count(); o++, panel += IN_TILE, from += LANES)
#pragma GCC unroll 8
        for (int i = 0; i < IN_TILE; i++)
#pragma GCC unroll 8
            for (int b = 0; b < BLOCKS; b++) sums[i][b] = fma(panel[i], load(from + b * step), sums[i][b]);
#pragma GCC unroll 8
    for (int i = 0; i < IN_TILE; i++)
#pragma GCC unroll 8
        for (int b = 0; b < BLOCKS; b++) store(dx.unit(block + b, std::min(first + i, dx.count() - 1)), sums[i][b]);
}

// Two blocks at a time, so that a broadcast weight is used twice.
inline void fc_forward(const float* weight, const float* bias, Units& x, Units& z, int blocks) {
    int b = 0;
    for (; b + 2 <= blocks; b += 2) fc_forward_blocks<2>(weight, bias, x, z, b);
    if (b < blocks) fc_forward_blocks<1>(weight, bias, x, z, b);
}

// The columns of W that a tile needs are copied side by side first: at a row's distance they fall on the same few lines
// of the L1 cache and drive each other out (1 of 3.5 us per image of the fixed net).
inline void fc_input_gradient(const float* weight, Units& dz, Units& dx, Buffer& panel, int blocks) {
    int in = dx.count(), out = dz.count();
    for (int first = 0; first < in; first += IN_TILE) {
        for (int o = 0; o < out; o++)
            for (int i = 0; i < IN_TILE; i++)
                panel[size_t(o) * IN_TILE + i] = weight[long(o) * in + std::min(first + i, in - 1)];
        int b = 0;
        for (; b + 2 <= blocks; b += 2) fc_input_gradient_tile<2>(panel.data(), dz, dx, b, first);
        if (b < blocks) fc_input_gradient_tile<1>(panel.data(), dz, dx, b, first);
    }
}

// Length of a row of `transposed` for this many inputs.
inline int padded_inputs(int in) { return (in + COLUMNS * LANES - 1) / (COLUMNS * LANES) * COLUMNS * LANES; }

// dW (out, in). Here the vectors run along the inputs, so x is turned to `transposed` [image][input] first: with images
// in the lanes every weight would need a sum over lanes, which costs twice the products.
inline void fc_weight_gradient(Units& x, Units& dz, Buffer& transposed, float* gradient, int blocks) {
    int in = x.count(), out = dz.count(), padded = padded_inputs(in);
    for (int b = 0; b < blocks; b++)
        for (int lane = 0; lane < LANES; lane++) {
            float* row = transposed.data() + (long(b) * LANES + lane) * padded;
            const float* from = x.block(b) + lane;
            for (int k = 0; k < in; k++) row[k] = from[k * LANES];
        }
    for (int k = 0; k < padded; k += COLUMNS * LANES)
        for (int o = 0; o < out; o += OUT_TILE) {
            Vec sums[OUT_TILE][COLUMNS]{};
            const float* row = transposed.data() + k;
            for (int b = 0; b < blocks; b++) {
                const float* d[OUT_TILE];
                for (int i = 0; i < OUT_TILE; i++) d[i] = dz.unit(b, std::min(o + i, out - 1));
                for (int lane = 0; lane < LANES; lane++, row += padded)
#pragma GCC unroll 8
                    for (int i = 0; i < OUT_TILE; i++)
#pragma GCC unroll 8
                        for (int j = 0; j < COLUMNS; j++) sums[i][j] = fma(d[i][lane], load(row + j * LANES), sums[i][j]);
            }
#pragma GCC unroll 8
            for (int i = 0; i < OUT_TILE; i++)
#pragma GCC unroll 8
                for (int j = 0; j < COLUMNS; j++) {
                    float* target = gradient + long(std::min(o + i, out - 1)) * in + k + j * LANES;
                    int room = in - (k + j * LANES);
                    if (room >= LANES)
                        store_anywhere(target, sums[i][j]);
                    else
                        for (int lane = 0; lane < room; lane++) target[lane] = sums[i][j][lane];
                }
        }
}

}  // namespace nws
