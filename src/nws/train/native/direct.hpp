// Convolution by its definition, for any odd filter. Register-tiled: GROUP channels x PIXELS pixels of sums stay in
// registers while the loops run over input channels and window, so that one FMA costs a quarter of a load.
#pragma once

#include "convolution.hpp"

namespace nws {

class DirectConvolution : public Convolution {
public:
    explicit DirectConvolution(ConvolutionShape shape)
        : Convolution(shape, packed_size(shape), packed_size(shape.transposed())), sums_(packed_size(shape) * LANES) {}

    void clear_weight_gradient() override { sums_.clear(); }

    void add_weight_gradient(View x, View dy) override {
        int k = shape_.filter;
        float* sums = sums_.data();
        for (int group = 0; group < shape_.groups(); group++)
            for (int c = 0; c < shape_.in; c++)
                for (int row = 0; row < k; row++)
                    for (int column = 0; column < k; column += TAPS) {
                        View shifted = x;
                        shifted.origin = x.at(c, row - k / 2, column - k / 2);
                        int taps = std::min(TAPS, k - column);
                        switch (taps) {
                            case 1: add_taps<1>(shifted, dy, group, sums); break;
                            case 2: add_taps<2>(shifted, dy, group, sums); break;
                            case 3: add_taps<3>(shifted, dy, group, sums); break;
                            default: add_taps<TAPS>(shifted, dy, group, sums); break;
                        }
                        sums += long(taps) * GROUP * LANES;
                    }
    }

    void take_weight_gradient(int part, float* gradient) override {
        int k = shape_.filter;
        const float* sums = sums_.data();
        for (int group = 0; group < shape_.groups(); group++)
            for (int c = 0; c < shape_.in; c++)
                for (int tap = 0; tap < k * k; tap++)
                    for (int i = 0; i < GROUP; i++, sums += LANES)
                        if (int o = group * GROUP + i; o < shape_.out)
                            take(part, load(sums), (long(o) * shape_.in + c) * k * k + tap, gradient);
    }

private:
    static constexpr int PIXELS = 4;  // whose moments are taken together, everywhere the same
    static constexpr int TOGETHER = REGISTERS == 32 ? 4 : 2;  // of them in registers, x GROUP channels
    // Neighbours in a window's row whose gradient is summed together.
    static constexpr int TAPS = REGISTERS == 32 ? 4 : 2;

    static size_t packed_size(ConvolutionShape s) { return size_t(s.groups()) * GROUP * s.in * s.filter * s.filter; }

    // [group][in][row][column][GROUP]
    void pack(Filters filters, float* packed) const override {
        ConvolutionShape s = filters.shape;
        for (int group = 0; group < s.groups(); group++)
            for (int c = 0; c < s.in; c++)
                for (int row = 0; row < s.filter; row++)
                    for (int column = 0; column < s.filter; column++)
                        for (int i = 0; i < GROUP; i++) *packed++ = filters.at(group * GROUP + i, c, row, column);
    }

    void correlate(ConvolutionShape s, View x, const float* weights, const float* bias, View y,
                   Moments* moments) override {
        long group_size = long(s.in) * s.filter * s.filter * GROUP;
        int tiles = 0;
        for (int h = 0; h < s.side; h++)
            for (int w = 0; w < s.side; w += PIXELS, tiles++) {
                MergeShare share(tiles, PIXELS);
                for (int group = 0; group < s.groups(); group++) {
                    Vec sums[GROUP][PIXELS];
#pragma GCC unroll 2
                    for (int j = 0; j < PIXELS; j += TOGETHER)
                        tile(s, x, h, w, j, weights + group * group_size, bias + group * GROUP, sums);
                    for (int i = 0; i < GROUP && group * GROUP + i < s.out; i++) {
                        for (int j = 0; j < PIXELS; j++) store(y.at(group * GROUP + i, h, w + j), sums[i][j]);
                        if (moments) merge(moments[group * GROUP + i], sums[i], share);
                    }
                }
            }
    }

    // Every window is summed for itself, then the windows of all channels: one chain of 2,600 additions (9 x 9, 32
    // channels) rounds so much that the gradients of a whole net were three to five times further from float64 than
    // PyTorch's.
    static NWS_INLINE void tile(ConvolutionShape s, View x, int h, int w, int first, const float* weights,
                                const float* bias, Vec (&tile)[GROUP][PIXELS]) {
        Vec sums[GROUP][TOGETHER];
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < TOGETHER; j++) sums[i][j] = all(bias[i]);
        for (int c = 0; c < s.in; c++) {
            Vec window[GROUP][TOGETHER]{};
            for (int row = 0; row < s.filter; row++) {
                const float* pixel = x.at(c, h + row - s.border(), w + first - s.border());
#pragma GCC unroll 1
                for (int column = 0; column < s.filter; column++, pixel += LANES, weights += GROUP)
#pragma GCC unroll 8
                    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
                        for (int j = 0; j < TOGETHER; j++) window[i][j] = fma(weights[i], load(pixel + j * LANES), window[i][j]);
            }
#pragma GCC unroll 8
            for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
                for (int j = 0; j < TOGETHER; j++) sums[i][j] += window[i][j];
        }
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < TOGETHER; j++) tile[i][first + j] = sums[i][j];
    }

    // sums [COUNT][GROUP][lane] += over all pixels dy(group, pixel) * x(pixel + tap)
    template <int COUNT>
    void add_taps(View x, View dy, int group, float* sums) const {
        const float* channel[GROUP];  // a padded channel reads the last real one; nobody reads its sums
        for (int i = 0; i < GROUP; i++) channel[i] = dy.at(std::min(group * GROUP + i, shape_.out - 1), 0, 0);
        Vec s[COUNT][GROUP];
#pragma GCC unroll 8
        for (int t = 0; t < COUNT; t++)
#pragma GCC unroll 8
            for (int i = 0; i < GROUP; i++) s[t][i] = load(sums + (t * GROUP + i) * LANES);
        for (int h = 0; h < shape_.side; h++) {
            const float* pixel = x.origin + h * x.row;
#pragma GCC unroll 1
            for (long w = 0; w < shape_.side * LANES; w += LANES)
#pragma GCC unroll 8
                for (int t = 0; t < COUNT; t++)
#pragma GCC unroll 8
                    for (int i = 0; i < GROUP; i++)
                        s[t][i] = fma(load(channel[i] + h * dy.row + w), load(pixel + w + t * LANES), s[t][i]);
        }
#pragma GCC unroll 8
        for (int t = 0; t < COUNT; t++)
#pragma GCC unroll 8
            for (int i = 0; i < GROUP; i++) store(sums + (t * GROUP + i) * LANES, s[t][i]);
    }

    Buffer sums_;
};

}  // namespace nws
