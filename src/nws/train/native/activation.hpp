// The activation functions. To add one: a struct with value(x) and slope(y), a name in Activation and a line in
// with_activation; then its name in space.py, in the order of Activation, and its module in cnn.py (docs/engines.md has
// an example). It must be monotone, rising (norm_pool.hpp takes the maximum before it).
#pragma once

#include "functions.hpp"

namespace nws {

enum class Activation { relu, elu, sigmoid, tanh };

// value(x), and slope(y): the derivative as a function of the OUTPUT y, so that the backward pass needs no input.
struct Relu {
    static NWS_INLINE Vec value(Vec x) { return positive_part(x); }
    static NWS_INLINE Vec slope(Vec y) { return select(y > 0.0f, all(1.0f), Vec{}); }
};

struct Elu {
    static NWS_INLINE Vec value(Vec x) { return select(x > 0.0f, x, expm1(smaller(x, Vec{}))); }
    static NWS_INLINE Vec slope(Vec y) { return select(y > 0.0f, all(1.0f), y + 1.0f); }
};

struct Sigmoid {
    static NWS_INLINE Vec value(Vec x) { return 1.0f / (1.0f + exp(-x)); }
    static NWS_INLINE Vec slope(Vec y) { return y * (1.0f - y); }
};

struct Tanh {
    static NWS_INLINE Vec value(Vec x) {
        Vec e = expm1(-2.0f * x);
        return -e / (e + 2.0f);
    }
    static NWS_INLINE Vec slope(Vec y) { return fma(-y, y, 1.0f); }
};

// Calls what(Relu()) or whichever it is: inside, the activation is a type and costs no branch per pixel.
template <class What>
void with_activation(Activation activation, What what) {
    switch (activation) {
        case Activation::relu: return what(Relu());
        case Activation::elu: return what(Elu());
        case Activation::sigmoid: return what(Sigmoid());
        case Activation::tanh: return what(Tanh());
    }
}

}  // namespace nws
