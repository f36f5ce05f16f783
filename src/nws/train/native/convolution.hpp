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

struct ConvolutionShape {
    int in, out;  // channels
    int side;     // of the square maps, input and output alike: 32, 16 or 8
    int filter;   // odd

    int groups() const { return (out + GROUP - 1) / GROUP; }
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
    virtual void set_weights(const float* weight, const float* bias, bool with_gradient) = 0;

    // One block: x (with its border) -> y. When `moments` is given (one per channel), y is merged into them; `tiles`
    // counts on.
    virtual void forward(View x, View y, Moments* moments, long& tiles) = 0;

    // One block: gradient of y (with a border of zeros) -> gradient of x.
    virtual void input_gradient(View dy, View dx) = 0;

    // The gradient of the weights: clear, add every block, then take the sum as (out, in, K, K).
    virtual void clear_weight_gradient() = 0;
    virtual void add_weight_gradient(View x, View dy) = 0;
    virtual void take_weight_gradient(float* gradient) = 0;
};

// Winograd where it exists. `direct` forces the plain loops: tests hold one against the other.
std::unique_ptr<Convolution> make_convolution(ConvolutionShape shape, bool direct);

}  // namespace nws
