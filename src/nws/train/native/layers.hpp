// The layers of a net: what each keeps between the forward and the backward pass, and both passes.
#pragma once

#include <memory>
#include <vector>

#include "convolution.hpp"
#include "fc.hpp"
#include "norm_pool.hpp"
#include "random.hpp"

namespace nws {

constexpr double BATCH_NORM_DECAY = 0.9, BATCH_NORM_EPSILON = 1e-5;

// Where a layer's tensors start in theta (layout.py): weight, bias, then those of batch norm if there is one.
struct Slots {
    long weight = 0, bias = 0, beta = 0, gamma = 0, mean = 0, variance = 0;
};

// Train: batch statistics, running statistics updated. Evaluate: running statistics.
enum class Mode { train, evaluate };

// The norm of channel c from batch statistics over n values; running ones are updated with the unbiased variance, as
// PyTorch does.
inline Norm batch_norm(float* theta, const Slots& at, int c, MeanVariance batch, double n) {
    float &mean = theta[at.mean + c], &variance = theta[at.variance + c];
    mean = float(fma(BATCH_NORM_DECAY, double(mean), (1 - BATCH_NORM_DECAY) * batch.mean));
    variance =
        float(fma(BATCH_NORM_DECAY, double(variance), (1 - BATCH_NORM_DECAY) * batch.variance * n / (n - 1)));
    double inverse = 1 / std::sqrt(batch.variance + BATCH_NORM_EPSILON);
    return {float(batch.mean), float(theta[at.gamma + c] * inverse), theta[at.beta + c], float(inverse)};
}

inline Norm running_norm(const float* theta, const Slots& at, int c) {
    double inverse = 1 / std::sqrt(double(theta[at.variance + c]) + BATCH_NORM_EPSILON);
    return {theta[at.mean + c], float(theta[at.gamma + c] * inverse), theta[at.beta + c], float(inverse)};
}

// Convolution -> norm -> activation (-> pool).
class ConvLayer {
public:
    ConvLayer(ConvolutionShape shape, bool pool, bool with_norm, bool first, Slots slots, int blocks, bool direct)
        : shape_(shape),
          pool_(pool),
          with_norm_(with_norm),
          first_(first),
          at_(slots),
          blocks_(blocks),
          convolution_(make_convolution(shape, direct)),
          input_(blocks, shape.in, shape.side, shape.border()),
          raw_(blocks, shape.out, shape.side, 0),
          chosen_(pool ? blocks : 0, shape.out, shape.side / 2, 0),
          input_gradient_(first ? 0 : blocks, shape.in, shape.side, 0),
          raw_gradient_(1, shape.out, shape.side, shape.border()),
          bias_sums_(size_t(blocks / PARTS) * shape.out),
          moments_(size_t(shape.out) * PARTS),
          batch_moments_(shape.out),
          norms_(shape.out) {}

    int out() const { return shape_.out; }
    int out_side() const { return pool_ ? shape_.side / 2 : shape_.side; }
    View input(int block) { return input_.block(block); }
    View input_gradient(int block) { return input_gradient_.block(block); }
    // The next layer's input and its gradient, a view per block.
    void connect(std::vector<View> output, std::vector<View> output_gradient) {
        output_ = std::move(output);
        output_gradient_ = std::move(output_gradient);
    }

    void set_weights(const float* theta) { convolution_->set_weights(theta + at_.weight, theta + at_.bias, !first_); }

    template <class Act>
    void forward(float* theta, Mode mode, int blocks) {
        bool batch = with_norm_ && mode == Mode::train;
        if (batch) {  // the statistics are known only after the last block
            std::fill(batch_moments_.begin(), batch_moments_.end(), BatchMoments{});
            for (int b = 0; b < blocks; b++) {
                convolution_->forward(input_.block(b), raw_.block(b), moments_.data() + b % PARTS * shape_.out);
                for (int c = 0; b % PARTS == PARTS - 1 && c < shape_.out; c++)
                    batch_moments_[c].add(&moments_[c], shape_.out, shape_.side * shape_.side);
            }
            for (int c = 0; c < shape_.out; c++)
                norms_[c] = batch_norm(theta, at_, c, batch_moments_[c].result(), batch_moments_[c].count());
        } else {
            for (int c = 0; c < shape_.out; c++) norms_[c] = with_norm_ ? running_norm(theta, at_, c) : Norm{};
        }
        for (int b = 0; b < blocks; b++) {
            if (!batch) convolution_->forward(input_.block(b), raw_.block(b), nullptr);
            for (int c = 0; c < shape_.out; c++) finish_channel<Act>(c, b);
        }
    }

    // output_gradient -> gradient of this layer's weights, and of its input unless this is the first layer.
    template <class Act>
    void backward(float* gradient) {
        double n = double(blocks_) * LANES * shape_.side * shape_.side;
        std::vector<NormGradient>& way = ways_;
        way.clear();
        for (int c = 0; c < shape_.out; c++) {
            GradientSums sums;
            for (int first = 0; first < blocks_; first += PARTS) {
                LaneSums dz, dz_x;
                for (int p = 0, b = first; p < PARTS; p++, b++)
                    act_backward<Act>(norms_[c], c, out_side(), (pool_ ? chosen_ : raw_).block(b), output_[b],
                                      output_gradient_[b], dz.part[p], dz_x.part[p]);
                sums.dz += dz.sum();
                sums.dz_x += dz_x.sum();
            }
            if (with_norm_) {
                gradient[at_.beta + c] = float(sums.dz);
                gradient[at_.gamma + c] = float(sums.dz_x * norms_[c].inverse_deviation);
            }
            way.emplace_back(norms_[c], sums, n, with_norm_);
        }
        for (int part = 0; part < PARTS; part++) back_through_part(part, gradient + at_.weight);
        for (int c = 0; c < shape_.out; c++) {
            gradient[at_.bias + c] = 0;
            for (int b = 0; b < blocks_; b += PARTS) gradient[at_.bias + c] += bias_sums_[b / PARTS * shape_.out + c].sum();
        }
    }

private:
    // All blocks of one part of the lanes, so that their sums of weight gradients, megabytes, exist once. Block by block,
    // so that dx is still in L2 when both convolutions read it.
    void back_through_part(int part, float* weight_gradient) {
        convolution_->clear_weight_gradient();
        for (int b = part; b < blocks_; b += PARTS) {
            View dx = raw_gradient_.block(0);
            for (int c = 0; c < shape_.out; c++)
                bias_sums_[b / PARTS * shape_.out + c].part[part] =
                    pool_ ? pool_norm_backward(ways_[c], c, shape_.side, raw_.block(b), chosen_.block(b),
                                               output_gradient_[b], dx)
                          : norm_backward(ways_[c], c, shape_.side, raw_.block(b), output_gradient_[b], dx);
            convolution_->add_weight_gradient(input_.block(b), dx);
            if (!first_) convolution_->input_gradient(dx, input_gradient_.block(b));
        }
        convolution_->take_weight_gradient(part, weight_gradient);
    }

    template <class Act>
    void finish_channel(int c, int b) {
        Norm norm = norms_[c];
        if (!pool_)
            norm_act<Act>(norm, c, shape_.side, raw_.block(b), output_[b]);
        else if (norm.scale >= 0)
            pool_norm_act<Act, true>(norm, c, shape_.side, raw_.block(b), chosen_.block(b), output_[b]);
        else
            pool_norm_act<Act, false>(norm, c, shape_.side, raw_.block(b), chosen_.block(b), output_[b]);
    }

    ConvolutionShape shape_;
    bool pool_, with_norm_, first_;
    Slots at_;
    int blocks_;
    std::unique_ptr<Convolution> convolution_;
    Maps input_, raw_, chosen_, input_gradient_;
    Maps raw_gradient_;  // of one block, inside a border of zeros
    std::vector<View> output_, output_gradient_;
    std::vector<LaneSums> bias_sums_;  // [16 images][channel]
    std::vector<Moments> moments_;     // of 16 images, [part][channel]
    std::vector<BatchMoments> batch_moments_;
    std::vector<Norm> norms_;
    std::vector<NormGradient> ways_;
};

// Product + bias -> activation -> norm -> dropout; the output layer is the product alone.
class FcLayer {
public:
    FcLayer(int in, int out, bool hidden, bool with_norm, float dropout, Slots slots, int blocks)
        : hidden_(hidden),
          with_norm_(with_norm && hidden),
          dropout_(hidden ? dropout : 0),
          at_(slots),
          blocks_(blocks),
          input_(blocks, in),
          input_gradient_(blocks, in),
          active_(blocks, out),
          output_gradient_(blocks, out),
          keep_(hidden ? blocks : 0, out),
          transposed_(size_t(blocks) * LANES * padded_inputs(in)),
          panel_(size_t(out) * IN_TILE),
          norms_(out) {}

    Units& input() { return input_; }
    Units& input_gradient() { return input_gradient_; }
    Units& active() { return active_; }                   // after the activation; of the output layer: the logits
    Units& logit_gradient() { return output_gradient_; }  // for the output layer's loss

    void product(const float* theta, int blocks) {
        fc_forward(theta + at_.weight, theta + at_.bias, input_, active_, blocks);
    }

    template <class Act>
    void forward(float* theta, Mode mode, int blocks, Random& random, Units& next) {
        product(theta, blocks);
        for (int o = 0; o < active_.count(); o++) {
            for (int b = 0; b < blocks; b++) store(active_.unit(b, o), Act::value(load(active_.unit(b, o))));
            if (with_norm_)
                norms_[o] = mode == Mode::train ? batch_norm(theta, at_, o, statistics(o), double(blocks_) * LANES)
                                                : running_norm(theta, at_, o);
            Norm n = norms_[o];
            for (int b = 0; b < blocks; b++)
                store(next.unit(b, o), fma(load(active_.unit(b, o)) - n.mean, n.scale, n.shift));
        }
        if (mode == Mode::train && dropout_ > 0) drop(random, next);
    }

    // `output_gradient` (of the dropped-out outputs; for the output layer the gradient of the loss) -> weights'
    // gradient and input_gradient.
    template <class Act>
    void backward(const float* theta, float* gradient, Units& output_gradient) {
        for (int o = 0; o < active_.count(); o++) {
            if (hidden_) back_to_product<Act>(gradient, o, output_gradient);
            LaneSums total = LaneSums::over(
                blocks_, [&](int b, Vec& part) { part += load(output_gradient.unit(b, o)); });
            gradient[at_.bias + o] = total.sum();
        }
        fc_weight_gradient(input_, output_gradient, transposed_, gradient + at_.weight, blocks_);
        fc_input_gradient(theta + at_.weight, output_gradient, input_gradient_, panel_, blocks_);
    }

private:
    // Two passes: B values per unit are few, and in L1.
    MeanVariance statistics(int o) {
        double n = double(blocks_) * LANES;
        LaneSums total = LaneSums::over(blocks_, [&](int b, Vec& part) { part += load(active_.unit(b, o)); });
        float mean = float(total.sum() / n);
        LaneSums squares = LaneSums::over(blocks_, [&](int b, Vec& part) {
            Vec away = load(active_.unit(b, o)) - mean;
            part = fma(away, away, part);
        });
        return {mean, squares.sum() / n};
    }

    void drop(Random& random, Units& next) {
        for (int b = 0; b < blocks_; b++) {
            Stream stream = random.open(b);
            for (int o = 0; o < active_.count(); o++) {
                Vec keep = select(stream.uniform() >= dropout_, all(1 / (1 - dropout_)), Vec{});
                store(keep_.unit(b, o), keep);
                store(next.unit(b, o), load(next.unit(b, o)) * keep);
            }
            random.close(b, stream);
        }
    }

    // Gradient of unit o through dropout, norm and activation, in place.
    template <class Act>
    void back_to_product(float* gradient, int o, Units& output_gradient) {
        Norm norm = norms_[o];
        LaneSums total = LaneSums::over(blocks_, [&](int b, Vec& part) {
            Vec d = load(output_gradient.unit(b, o));
            if (dropout_ > 0) d *= load(keep_.unit(b, o));
            store(output_gradient.unit(b, o), d);
            part += d;
        });
        LaneSums with_x = LaneSums::over(blocks_, [&](int b, Vec& part) {
            part = fma(load(output_gradient.unit(b, o)), load(active_.unit(b, o)) - norm.mean, part);
        });
        GradientSums sums{total.sum(), with_x.sum()};
        if (with_norm_) {
            gradient[at_.beta + o] = float(sums.dz);
            gradient[at_.gamma + o] = float(sums.dz_x * norm.inverse_deviation);
        }
        NormGradient way(norm, sums, double(blocks_) * LANES, with_norm_);
        for (int b = 0; b < blocks_; b++) {
            Vec a = load(active_.unit(b, o));
            store(output_gradient.unit(b, o),
                  fma(load(output_gradient.unit(b, o)), way.of_dz, way.of_zero(a)) * Act::slope(a));
        }
    }

    bool hidden_, with_norm_;
    float dropout_;
    Slots at_;
    int blocks_;
    Units input_, input_gradient_, active_, output_gradient_, keep_;
    Buffer transposed_, panel_;  // scratch of the two gradients
    std::vector<Norm> norms_;
};

}  // namespace nws
