// One net in training: its layers, its optimizer and its random numbers. One thread; nothing is allocated inside a
// step.
#pragma once

#include <limits>
#include <stdexcept>
#include <vector>

#include "augment.hpp"
#include "denormals.hpp"
#include "layers.hpp"
#include "loss.hpp"
#include "optimizer.hpp"

namespace nws {

// The hyper-parameters that matter here, as native_engine.py passes them.
struct Architecture {
    int filter, batch;
    std::vector<int> conv_widths;  // channels of each convolution
    std::vector<bool> pools;       // whether a pool follows it
    std::vector<int> fc_widths;    // the output layer included
    bool batch_norm, augmentation;
    float dropout;
    Activation activation;
    Rule optimizer;
    Ranges ranges;  // of the augmentation
    bool direct;    // no Winograd
};

class Net {
public:
    // theta: initial weights in the layout's order. Throws std::invalid_argument when they are not as many as the
    // architecture has.
    Net(Architecture architecture, const std::vector<float>& theta, uint64_t seed);

    int batch() const { return blocks_ * LANES; }
    size_t size() const { return theta_.size(); }
    // Every NaN is written as the same one: which of them arithmetic makes differs between processors.
    void copy_theta(float* to) const {
        for (size_t i = 0; i < size(); i++)
            to[i] = theta_.data()[i] == theta_.data()[i] ? theta_.data()[i] : std::numeric_limits<float>::quiet_NaN();
    }
    const float* gradient() const { return gradient_.data(); }

    // One training step on pictures index[0 .. batch). Returns the mean loss.
    float step(const Pictures& pictures, const int64_t* index, float learning_rate);

    // How many of pictures index[0 .. n) are classified correctly in evaluation mode.
    long correct(const Pictures& pictures, const int64_t* index, long n);

    // For tests: loss and gradient (no step) for x (batch, 3, 32, 32).
    float loss_and_gradient(const float* x, const int* labels);

    // For tests: what augmentation makes of pictures index[0 .. LANES), (LANES, 3, 32, 32); with `changes` and standard
    // normal `noise` (LANES, 3, 32, 32) given, else drawn.
    void augmented(const Pictures& pictures, const int64_t* index, const Changes* changes, const float* noise,
                   float* result);

private:
    void lay_out(const Architecture& a);
    void load(const Pictures& pictures, const int64_t* index);
    void forward(Mode mode, int blocks);
    float forward_and_back(const int* labels);

    Architecture architecture_;
    int blocks_;
    long trailing_ = 0;  // weights laid out so far
    std::vector<std::unique_ptr<ConvLayer>> convs_;
    std::vector<std::unique_ptr<FcLayer>> fcs_;
    Buffer theta_, gradient_;
    Optimizer optimizer_;
    Random random_;
    FramedPictures framed_;
    std::vector<int> labels_;
};

}  // namespace nws
