// Layers one after the other, trained by AdamW: classes of byte pictures (cross entropy), or values at places (mean square).
#pragma once

#include "layer.hpp"

namespace kan {

constexpr long TILE = 64;  // images at a time: what they mean to one layer, 90 kB for 32 inputs, stays in the second cache

inline long padded(long n) { return (n + LANES - 1) / LANES * LANES; }

struct Net {
    std::vector<Layer> layers;
    float low, high;
    long steps = 0;

    Net(const std::vector<int>& widths, int grid, float low, float high) : low(low), high(high) {
        for (size_t k = 0; k + 1 < widths.size(); k++) layers.emplace_back(widths[k], widths[k + 1], grid);
        for (size_t k = 0; k < layers.size(); k++) {
            outputs_.emplace_back(size_t(TILE) * layers[k].wide);
            slopes_.emplace_back(size_t(TILE) * layers[k].wide);
            features_.emplace_back(k ? size_t(TILE) * padded(layers[k].inputs) / LANES : 0);
        }
        Floats level(256);
        for (int byte = 0; byte < 256; byte++) level[byte] = low + byte * ((high - low) / 255);
        levels_.resize(256 / LANES);
        describe(level, 256, grid, low, high, levels_.data());
    }

    size_t count() const {
        size_t n = 0;
        for (const Layer& l : layers) n += l.count();
        return n;
    }
    int inputs() const { return layers.front().inputs; }
    int outputs() const { return layers.back().outputs; }
    int wide() const { return layers.back().wide; }

    void set(const float* theta) {
        for (Layer& l : layers) {
            l.each([&](size_t k, float& value) { value = theta[k]; });
            l.tabulate();
            theta += l.count();
        }
    }
    void get(float* theta) {
        for (Layer& l : layers) {
            l.each([&](size_t k, float& value) { theta[k] = value; });
            theta += l.count();
        }
    }

    // Of byte pictures (n, inputs): rows `index` of `pixels`, or the first n. Returns the last layer's outputs (n <= TILE, wide).
    const float* of_bytes(const uint8_t* pixels, const int64_t* index, long n) {
        return run(levels_.data(), [=, this](long image, int q) {
            return long(pixels[(index ? index[image] : image) * inputs() + q]);
        }, n);
    }
    void bytes_back(const uint8_t* pixels, const int64_t* index, long n) {
        back(levels_.data(), [=, this](long image, int q) { return long(pixels[index[image] * inputs() + q]); }, n);
    }

    // Of described places: their features lie image by image, each image's inputs padded to whole vectors.
    const float* of_places(const Features* f, long n) {
        long stride = padded(inputs());
        return run(f, [=](long image, int q) { return image * stride + q; }, n);
    }
    void places_back(const Features* f, long n) {
        long stride = padded(inputs());
        back(f, [=](long image, int q) { return image * stride + q; }, n);
    }
    std::vector<Features> described(const float* x, long n) const {
        long stride = padded(inputs());
        Floats rows(size_t(n) * stride);
        for (long image = 0; image < n; image++) std::memcpy(rows + image * stride, x + image * inputs(), 4 * size_t(inputs()));
        std::vector<Features> f(size_t(n) * stride / LANES);
        describe(rows, n * stride, layers[0].grid, low, high, f.data());
        return f;
    }

    // The gradient of the mean cross entropy of `batch` images with respect to the last outputs, of the n at hand; their summed loss.
    double cross_entropy(const int* labels, const int64_t* index, long n, long batch) {
        double loss = 0;
        const int wide = this->wide(), classes = outputs();
        for (long image = 0; image < n; image++) {
            float* y = outputs_.back() + image * wide;
            float* d = slopes_.back() + image * wide;
            const int label = labels[index[image]];
            float most = y[0], total = 0;
            for (int p = 1; p < classes; p++) most = y[p] > most ? y[p] : most;
            for (int o = 0; o < wide; o += LANES) {
                store(d + o, exponential(load(y + o) - most));
                for (int lane = 0; lane < LANES; lane++)
                    if (o + lane >= classes) d[o + lane] = 0;
                total += sum(load(d + o));
            }
            loss += std::log(total) + most - y[label];
            for (int o = 0; o < wide; o += LANES) store(d + o, load(d + o) * (1 / (total * batch)));
            d[label] -= 1.0f / batch;
        }
        return loss;
    }

    // The same of the mean squared difference from `target` (n, outputs), the mean being over batch x outputs numbers.
    double squares(const float* target, long n, long batch) {
        double loss = 0;
        const int wide = this->wide(), count = outputs();
        for (long image = 0; image < n; image++)
            for (int p = 0; p < wide; p++) {
                float off = p < count ? outputs_.back()[image * wide + p] - target[image * count + p] : 0;
                loss += double(off) * off;
                slopes_.back()[image * wide + p] = 2 * off / (float(batch) * count);
            }
        return loss;
    }

    void update(float rate, float decay) {
        steps++;
        Adam adam{rate, decay};
        adam.correction1 = float(1 / (1 - std::pow(double(adam.beta1), double(steps))));
        adam.correction2 = float(1 / std::sqrt(1 - std::pow(double(adam.beta2), double(steps))));
        for (Layer& l : layers) l.update(adam);
    }

    // As if no gradient had been added up.
    void forget() {
        for (Layer& l : layers) l.slope.zero();
    }

    // The gradient that has been added up, in theta's order; then it is 0 again.
    void gradient(float* out) {
        for (Layer& l : layers) {
            size_t edges = size_t(l.inputs) * l.outputs;
            for (int p = 0; p < l.outputs; p++)
                for (int q = 0; q < l.inputs; q++) {
                    size_t edge = size_t(p) * l.inputs + q;
                    const float* w = l.weights + size_t(q) * (2 + l.bases) * l.wide + p;
                    const float* g = l.slope + size_t(q) * l.rows * l.wide + p;
                    float of_scale = 0;
                    out[edge] = g[0];
                    for (int i = 0; i < l.bases; i++) {
                        out[2 * edges + edge * l.bases + i] = g[(4 + i) * l.wide] * w[l.wide];
                        of_scale += g[(4 + i) * l.wide] * w[(2 + i) * l.wide];
                    }
                    out[edges + edge] = of_scale;
                }
            out += l.count();
            l.slope.zero();
        }
    }

    // Mean |phi| and deviation of phi of every edge over byte pictures (n, inputs): layer after layer, output by output.
    void scores(const uint8_t* pixels, long n, float* mean, float* deviation) {
        std::vector<Scores> all;
        for (const Layer& l : layers) all.emplace_back(size_t(l.inputs) * l.wide);
        for (long first = 0; first < n; first += TILE) {
            const long some = n - first < TILE ? n - first : TILE;
            const uint8_t* here = pixels + first * inputs();
            of_bytes(here, nullptr, some);
            score(layers[0], levels_.data(), [=, this](long image, int q) { return long(here[image * inputs() + q]); }, some, !first, all[0]);
            for (size_t k = 1; k < layers.size(); k++) {
                const long stride = layers[k - 1].wide;
                score(layers[k], features_[k].data(), [=](long image, int q) { return image * stride + q; }, some, !first, all[k]);
            }
        }
        for (size_t k = 0; k < layers.size(); k++)
            for (int p = 0; p < layers[k].outputs; p++)
                for (int q = 0; q < layers[k].inputs; q++) {
                    const size_t at = size_t(q) * layers[k].wide + p;
                    const double off = all[k].sum[at] / n, variance = all[k].square[at] / n - off * off;
                    *mean++ = float(all[k].size[at] / n);
                    *deviation++ = float(std::sqrt(variance > 0 ? variance : 0));
                }
    }

private:
    std::vector<Features> levels_;  // of the 256 that a byte of a picture may be
    std::vector<std::vector<Features>> features_;  // of each layer's inputs but the first's
    std::vector<Floats> outputs_, slopes_;         // of each layer: its outputs (TILE, wide), and the loss's gradient by them

    template <class Value>
    const float* run(const Features* f, Value value, long n) {
        forward(layers[0], f, value, n, outputs_[0]);
        for (size_t k = 1; k < layers.size(); k++) {
            long stride = layers[k - 1].wide;
            describe(outputs_[k - 1], n * stride, layers[k].grid, low, high, features_[k].data());
            forward(layers[k], features_[k].data(), [=](long image, int q) { return image * stride + q; }, n, outputs_[k]);
        }
        return outputs_.back();
    }

    template <class Value>
    void back(const Features* f, Value value, long n) {
        for (size_t k = layers.size() - 1; k > 0; k--) {
            long stride = layers[k - 1].wide;
            backward<true>(layers[k], features_[k].data(), [=](long image, int q) { return image * stride + q; }, n, slopes_[k],
                           slopes_[k - 1], stride);
        }
        backward<false>(layers[0], f, value, n, slopes_[0], nullptr, 0);
    }
};

}  // namespace kan
