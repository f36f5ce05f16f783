// The three optimizers with TensorFlow 1's semantics, as in torch_engine.py. They run over the whole of theta: the
// moving statistics in it have gradient 0, which none of the three answers with a step.
#pragma once

#include <cmath>

#include "functions.hpp"
#include "maps.hpp"

namespace nws {

enum class Rule { adam, rmsprop, momentum };

class Optimizer {
public:
    Optimizer(Rule rule, size_t size) : rule_(rule), first_(size), second_(size) {
        if (rule == Rule::rmsprop)
            for (size_t i = 0; i < size; i++)
                second_[i] = 1;  // the accumulator starts at 1, which makes the first steps small
    }

    void update(float* theta, const float* gradient, float learning_rate) {
        switch (rule_) {
            case Rule::adam: return adam(theta, gradient, learning_rate);
            case Rule::rmsprop: return rmsprop(theta, gradient, learning_rate);
            case Rule::momentum: return momentum(theta, gradient, learning_rate);
        }
    }

private:
    // Epsilon is added before the bias correction of v.
    void adam(float* theta, const float* g, float learning_rate) {
        float *m = first_.data(), *v = second_.data();
        float rate = float(learning_rate * std::sqrt(1 - slow_.next()) / (1 - fast_.next()));
        for (size_t i = 0; i < first_.size(); i++) {
            m[i] = fma(g[i] - m[i], 0.1f, m[i]);
            v[i] = fma(v[i], 0.999f, g[i] * g[i] * 0.001f);
            theta[i] -= rate * m[i] / (std::sqrt(v[i]) + 1e-8f);
        }
    }

    // Epsilon stands inside the root.
    void rmsprop(float* theta, const float* g, float learning_rate) {
        float* v = second_.data();
        for (size_t i = 0; i < second_.size(); i++) {
            v[i] = fma(v[i], 0.9f, g[i] * g[i] * 0.1f);
            theta[i] -= learning_rate * g[i] / std::sqrt(v[i] + 1e-10f);
        }
    }

    // No dampening, no Nesterov.
    void momentum(float* theta, const float* g, float learning_rate) {
        float* velocity = first_.data();
        for (size_t i = 0; i < first_.size(); i++) {
            velocity[i] = fma(velocity[i], 0.95f, g[i]);
            theta[i] = fma(-learning_rate, velocity[i], theta[i]);
        }
    }

    Rule rule_;
    Powers fast_{0.9}, slow_{0.999};
    Buffer first_, second_;
};

}  // namespace nws
