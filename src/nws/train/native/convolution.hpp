// What a convolution does, block by block. Two do it: WinogradConvolution (filters of 3, 5, 7) and DirectConvolution
// (any odd filter).
#pragma once

#include <algorithm>
#include <memory>

#include "maps.hpp"
#include "moments.hpp"

namespace nws {

// Output channels computed together: each loaded pixel is used this many times. Other widths are padded with zero
// weights.
constexpr int GROUP = 4;
using GroupVec = FourVec;

struct ConvolutionShape {
    int in, out;  // channels
    int side;     // of the square maps, input and output alike: 32, 16 or 8
    int filter;   // odd

    int groups() const { return (out + GROUP - 1) / GROUP; }
    long weights() const { return long(in) * out * filter * filter; }
    int border() const { return filter / 2; }
    ConvolutionShape transposed() const { return {out, in, side, filter}; }
};

// Weights (out, in, K, K) as seen from output o and input c; or, for the input gradient, the same with o and c
// exchanged and the window turned by 180 degrees: the gradient of a "same" convolution is one itself.
struct Filters {
    const float* weight;
    ConvolutionShape shape;  // of the convolution to be computed
    bool gradient;

    float at(int o, int c, int row, int column) const {
        if (o >= shape.out) return 0.0f;
        int k = shape.filter;
        if (!gradient) return weight[((long(o) * shape.in + c) * k + row) * k + column];
        return weight[((long(c) * shape.out + o) * k + (k - 1 - row)) * k + (k - 1 - column)];
    }
};

class Convolution {
public:
    virtual ~Convolution() = default;

    // Once per step. `with_gradient`: input_gradient will be called too.
    void set_weights(const float* weight, const float* bias, bool with_gradient) {
        pack({weight, shape_, false}, forward_.data());
        std::copy(bias, bias + shape_.out, bias_.data());
        if (with_gradient) pack({weight, shape_.transposed(), true}, backward_.data());
    }

    // One block: x (with its border) -> y, and y's moments (one per channel) where `moments` is given.
    void forward(View x, View y, Moments* moments) {
        if (moments) std::fill(moments, moments + shape_.out, Moments{});
        correlate(shape_, x, forward_.data(), bias_.data(), y, moments);
    }

    // One block: gradient of y (with a border of zeros) -> gradient of x.
    void input_gradient(View dy, View dx) {
        correlate(shape_.transposed(), dy, backward_.data(), no_bias_.data(), dx, nullptr);
    }

    // The gradient of the weights: for each part of the lanes in order clear, add every block of it, and take. The last
    // part completes the sum, (out, in, K, K).
    virtual void clear_weight_gradient() = 0;
    virtual void add_weight_gradient(View x, View dy) = 0;
    virtual void take_weight_gradient(int part, float* gradient) = 0;

protected:
    // `forward` and `backward`: how many floats `pack` writes for the shape and for the transposed one.
    Convolution(ConvolutionShape shape, size_t forward, size_t backward)
        : shape_(shape),
          forward_(forward),
          backward_(backward),
          lanes_(PARTS > 1 ? size_t(PARTS) * shape.weights() * LANES : 0),
          bias_(size_t(shape.groups()) * GROUP),
          no_bias_(size_t(shape.transposed().groups()) * GROUP) {}

    // The filters in the order in which `correlate` reads them.
    virtual void pack(Filters filters, float* packed) const = 0;
    virtual void correlate(ConvolutionShape shape, View x, const float* packed, const float* bias, View y,
                           Moments* moments) = 0;

    // The gradient of weight `at` from the lanes of one part.
    NWS_INLINE void take(int part, Vec lanes, long at, float* gradient) {
        if constexpr (PARTS == 1) {
            gradient[at] = sum(lanes);
        } else {
            store(lanes_.data() + (part * shape_.weights() + at) * LANES, lanes);
            if (part < PARTS - 1) return;
            LaneSums sums;
            for (int p = 0; p < PARTS; p++) sums.part[p] = load(lanes_.data() + (p * shape_.weights() + at) * LANES);
            gradient[at] = sums.sum();
        }
    }

    ConvolutionShape shape_;

private:
    Buffer forward_, backward_;
    Buffer lanes_;  // of the weight gradient, [part][weight][lane]
    Buffer bias_, no_bias_;
};

// Winograd where it exists. `direct` forces the plain loops: tests hold one against the other.
std::unique_ptr<Convolution> make_convolution(ConvolutionShape shape, bool direct);

}  // namespace nws
