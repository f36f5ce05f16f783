// Convolution by its definition, for any odd filter. Register-tiled: GROUP channels x PIXELS pixels of sums stay in
// registers while the loops run over input channels and window, so that one FMA costs a quarter of a load.
#pragma once

#include "convolution.hpp"

namespace nws {

class DirectConvolution : public Convolution {
public:
    explicit DirectConvolution(ConvolutionShape shape)
        : shape_(shape),
          forward_(packed_size(shape)),
          backward_(packed_size(shape.transposed())),
          bias_(size_t(shape.groups()) * GROUP),
          no_bias_(size_t(shape.transposed().groups()) * GROUP),
          sums_(packed_size(shape) * LANES) {}

    void set_weights(const float* weight, const float* bias, bool with_gradient) override {
        pack({weight, shape_, false}, forward_.data());
        std::copy(bias, bias + shape_.out, bias_.data());
        if (with_gradient) pack({weight, shape_.transposed(), true}, backward_.data());
    }

    void forward(View x, View y, Moments* moments, long& tiles) override {
        correlate(shape_, x, forward_.data(), bias_.data(), y, moments, tiles);
    }

    void input_gradient(View dy, View dx) override {
        long unused = 0;
        correlate(shape_.transposed(), dy, backward_.data(), no_bias_.data(), dx, nullptr, unused);
    }

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

    void take_weight_gradient(float* gradient) override {
        int k = shape_.filter;
        const float* sums = sums_.data();
        for (int group = 0; group < shape_.groups(); group++)
            for (int c = 0; c < shape_.in; c++)
                for (int tap = 0; tap < k * k; tap++)
                    for (int i = 0; i < GROUP; i++, sums += LANES)
                        if (int o = group * GROUP + i; o < shape_.out)
                            gradient[(long(o) * shape_.in + c) * k * k + tap] = sum(load(sums));
    }

private:
    static constexpr int PIXELS = REGISTERS == 32 ? 4 : 2;
    static constexpr int TAPS =
        REGISTERS == 32 ? 4 : 2;  // neighbours in a window's row whose gradient is summed together

    static size_t packed_size(ConvolutionShape s) { return size_t(s.groups()) * GROUP * s.in * s.filter * s.filter; }

    // [group][in][row][column][GROUP]: the order in which `correlate` reads them.
    static void pack(Filters filters, float* packed) {
        ConvolutionShape s = filters.shape;
        for (int group = 0; group < s.groups(); group++)
            for (int c = 0; c < s.in; c++)
                for (int row = 0; row < s.filter; row++)
                    for (int column = 0; column < s.filter; column++)
                        for (int i = 0; i < GROUP; i++) *packed++ = filters.at(group * GROUP + i, c, row, column);
    }

    static void correlate(ConvolutionShape s, View x, const float* weights, const float* bias, View y, Moments* moments,
                          long& tiles) {
        long group_size = long(s.in) * s.filter * s.filter * GROUP;
        for (int h = 0; h < s.side; h++)
            for (int w = 0; w < s.side; w += PIXELS, tiles++) {
                MergeShare share(tiles, PIXELS);
                for (int group = 0; group < s.groups(); group++) {
                    Vec sums[GROUP][PIXELS];
                    tile(s, x, h, w, weights + group * group_size, bias + group * GROUP, sums);
                    for (int i = 0; i < GROUP && group * GROUP + i < s.out; i++) {
                        for (int j = 0; j < PIXELS; j++) store(y.at(group * GROUP + i, h, w + j), sums[i][j]);
                        if (moments) merge(moments[group * GROUP + i], sums[i], share);
                    }
                }
            }
    }

    static NWS_INLINE void tile(ConvolutionShape s, View x, int h, int w, const float* weights, const float* bias,
                                Vec (&sums)[GROUP][PIXELS]) {
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < PIXELS; j++) sums[i][j] = all(bias[i]);
        for (int c = 0; c < s.in; c++)
            for (int row = 0; row < s.filter; row++) {
                const float* pixel = x.at(c, h + row - s.border(), w - s.border());
#pragma GCC unroll 1
                for (int column = 0; column < s.filter; column++, pixel += LANES, weights += GROUP)
#pragma GCC unroll 8
                    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
                        for (int j = 0; j < PIXELS; j++) sums[i][j] += weights[i] * load(pixel + j * LANES);
            }
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
                        s[t][i] += load(channel[i] + h * dy.row + w) * load(pixel + w + t * LANES);
        }
#pragma GCC unroll 8
        for (int t = 0; t < COUNT; t++)
#pragma GCC unroll 8
            for (int i = 0; i < GROUP; i++) store(sums + (t * GROUP + i) * LANES, s[t][i]);
    }

    ConvolutionShape shape_;
    Buffer forward_, backward_, bias_, no_bias_, sums_;
};

}  // namespace nws
