#include "fitter.hpp"

#include <new>

namespace nws {
namespace {

constexpr float BETA1 = 0.9f, BETA2 = 0.999f, EPSILON = 1e-8f;  // Adam's

template <class Units>
class LaneFitter final : public Fitter {
public:
    LaneFitter(Shape shape, const float* points, int count, std::vector<Wish> wishes, std::vector<Outcome> outcomes, int records)
        : shape_(shape),
          width_((shape.width + TILE - 1) / TILE * TILE),
          count_(count),
          blocks_((count + POINTS - 1) / POINTS),
          records_(records),
          points_(points, points + size_t(count) * shape.inputs),
          wishes_(std::move(wishes)),
          outcomes_(std::move(outcomes)),
          vecs_(lay_out()),
          p_(vecs_),
          g_(vecs_),
          m_(vecs_),
          v_(vecs_),
          value_(size_t(shape.depth) * POINTS * width_),
          slope_(size_t(shape.depth) * POINTS * width_),
          error_(size_t(POINTS) * shape.outputs),
          target_(size_t(blocks_) * POINTS * shape.outputs) {
        points_.resize(size_t(blocks_) * POINTS * shape.inputs, 0.0f);
        for (int lane = 0; lane < LANES; lane++) start(lane);
    }

    size_t size() const override { return where_.size(); }

    void gradient(const Wish* wishes, int n, float* loss, float* gradient) override {
        FlushDenormals flush;
        for (int lane = 0; lane < n; lane++) put(lane, wishes[lane]);
        Vec found = pass();
        for (int lane = 0; lane < n; lane++) {
            loss[lane] = found[lane];
            for (size_t i = 0; i < size(); i++) gradient[lane * size() + i] = g_.data[where_[i]][lane];
        }
    }

    bool advance(int passes) override {
        FlushDenormals flush;
        for (; passes > 0; passes--) {
            bool busy = false;
            for (const Lane& lane : lanes_) busy |= lane.wish >= 0;
            if (!busy) return false;
            Vec loss = pass();
            std::array<bool, LANES> over{};
            for (int lane = 0; lane < LANES; lane++) over[lane] = record(lane, loss[lane]);
            adam();
            for (int lane = 0; lane < LANES; lane++)
                if (over[lane]) start(lane);
        }
        return true;
    }

private:
    struct Lane {
        int wish = -1, step = 0, next = 0;  // next: record
        double beta1 = 1, beta2 = 1;        // to the power of the steps
    };

    // Where the layers lie in p, g, m and v, in vectors: [unit][input] and [unit], units padded to whole tiles. Padded units
    // have weights of 0 in and out, hence gradients of 0. Fills `where_`: theta's order -> vector.
    size_t lay_out() {
        size_t at = 0;
        for (int l = 0; l <= shape_.depth; l++) {
            int in = l ? shape_.width : shape_.inputs, out = l < shape_.depth ? shape_.width : shape_.outputs;
            int in_padded = l ? width_ : in, out_padded = l < shape_.depth ? width_ : out;
            weight_.push_back(at);
            for (int i = 0; i < out; i++)
                for (int j = 0; j < in; j++) where_.push_back(at + size_t(i) * in_padded + j);
            at += size_t(out_padded) * in_padded;
            bias_.push_back(at);
            for (int i = 0; i < out; i++) where_.push_back(at + i);
            at += out_padded;
        }
        return at;
    }

    void put(int lane, const Wish& wish) {
        for (size_t i = 0; i < size(); i++) {
            p_.data[where_[i]][lane] = wish.theta[i];
            m_.data[where_[i]][lane] = v_.data[where_[i]][lane] = 0;
        }
        for (int i = 0; i < count_ * shape_.outputs; i++) target_.data[i][lane] = wish.target[i];
        omega_[lane] = wish.omega;
        offset_[lane] = wish.offset;
    }

    // Next wish into this lane, or none.
    void start(int lane) {
        if (taken_ >= int(wishes_.size())) {
            lanes_[lane] = Lane{};
            return;
        }
        lanes_[lane] = Lane{.wish = taken_};
        put(lane, wishes_[taken_++]);
    }

    // Keep what is to be kept of a lane's weights; true when its net is done.
    bool record(int lane, float loss) {
        Lane& at = lanes_[lane];
        if (at.wish < 0) return false;
        const Wish& wish = wishes_[at.wish];
        const Outcome& outcome = outcomes_[at.wish];
        bool done = at.step >= wish.steps || loss <= wish.goal || !std::isfinite(loss);
        for (; at.next < records_ && (done || wish.records[at.next] <= at.step); at.next++) {
            outcome.loss[at.next] = loss;
            outcome.steps[at.next] = at.step;
            float* theta = outcome.theta + at.next * size();
            for (size_t i = 0; i < size(); i++) theta[i] = p_.data[where_[i]][lane];
        }
        at.step++;
        return done;
    }

    void adam() {
        Vec rate{}, second{};
        for (int lane = 0; lane < LANES; lane++) {
            Lane& at = lanes_[lane];
            if (at.wish < 0) continue;
            at.beta1 *= BETA1;
            at.beta2 *= BETA2;
            rate[lane] = float(wishes_[at.wish].learning_rate / (1 - at.beta1));
            second[lane] = float(1 / std::sqrt(1 - at.beta2));
        }
        for (size_t i = 0; i < vecs_; i++) {
            Vec g = g_.data[i];
            Vec m = m_.data[i] * BETA1 + g * (1 - BETA1), v = v_.data[i] * BETA2 + g * g * (1 - BETA2);
            m_.data[i] = m;
            v_.data[i] = v;
            p_.data[i] -= rate * m / (square_root(v) * second + EPSILON);
        }
    }

    Vec* value(int layer) { return value_.data + size_t(layer) * POINTS * width_; }
    Vec* slope(int layer) { return slope_.data + size_t(layer) * POINTS * width_; }

    // Loss of every lane; the gradient is left in g.
    Vec pass() {
        std::memset(static_cast<void*>(g_.data), 0, vecs_ * sizeof(Vec));
        Vec loss{};
        for (int block = 0; block < blocks_; block++) {
            const float* points = points_.data() + size_t(block) * POINTS * shape_.inputs;
            first_layer(points);
            for (int l = 1; l < shape_.depth; l++) hidden_layer(l);
            loss += output_layer(block);
            for (int l = shape_.depth - 1; l > 0; l--) {
                weight_gradient(l);
                back(l);
            }
            first_gradient(points);
        }
        return loss * (1.0f / (float(count_) * shape_.outputs));
    }

    void first_layer(const float* points) {
        const Vec *w = p_.data + weight_[0], *b = p_.data + bias_[0];
        Vec *s = value(0), *c = slope(0), omega = omega_;
        for (int i = 0; i < width_; i++)
            for (int k = 0; k < POINTS; k++) {
                Vec z = b[i];
                for (int d = 0; d < shape_.inputs; d++) z += w[i * shape_.inputs + d] * points[k * shape_.inputs + d];
                Units::hidden(z, omega, s[k * width_ + i], c[k * width_ + i]);
            }
    }

    // [point][input] x [unit][input] -> [point][unit], tile by tile; the weights of a tile's units serve all points.
    void hidden_layer(int l) {
        const Vec *w = p_.data + weight_[l], *b = p_.data + bias_[l], *in = value(l - 1);
        Vec *s = value(l), *c = slope(l), omega = omega_;
        for (int i = 0; i < width_; i += TILE)
            for (int k = 0; k < POINTS; k += TILE) {
                Vec a[TILE][TILE];
                for (int u = 0; u < TILE; u++)
                    for (int v = 0; v < TILE; v++) a[u][v] = b[i + v];
                for (int j = 0; j < width_; j++) {
                    Vec x[TILE];
                    for (int v = 0; v < TILE; v++) x[v] = w[(i + v) * width_ + j];
                    for (int u = 0; u < TILE; u++) {
                        Vec y = in[(k + u) * width_ + j];
                        for (int v = 0; v < TILE; v++) a[u][v] += y * x[v];
                    }
                }
                for (int u = 0; u < TILE; u++)
                    for (int v = 0; v < TILE; v++)
                        Units::hidden(a[u][v], omega, s[(k + u) * width_ + i + v], c[(k + u) * width_ + i + v]);
            }
    }

    // The block's sum of squared errors; `slope` of the last hidden layer becomes the derivative of the loss by its z.
    Vec output_layer(int block) {
        int last = shape_.depth - 1;
        const Vec *w = p_.data + weight_[last + 1], *b = p_.data + bias_[last + 1], *s = value(last);
        Vec *gw = g_.data + weight_[last + 1], *gb = g_.data + bias_[last + 1], *c = slope(last), loss{};
        const Vec* target = target_.data + size_t(block) * POINTS * shape_.outputs;
        int real = std::min(POINTS, count_ - block * POINTS);  // the last block is filled up with points that count nothing
        float scale = 2.0f / (float(count_) * shape_.outputs);
        for (int k = 0; k < POINTS; k++)
            for (int o = 0; o < shape_.outputs; o++) {
                Vec y = b[o] + offset_, slope;
                for (int i = 0; i < width_; i++) y += w[o * width_ + i] * s[k * width_ + i];
                y = Units::output(y, slope);
                Vec e = k < real ? y - target[k * shape_.outputs + o] : Vec{};
                loss += e * e;
                e *= slope * scale;
                gb[o] += e;
                error_.data[k * shape_.outputs + o] = e;
            }
        for (int i = 0; i < width_; i++) {
            for (int o = 0; o < shape_.outputs; o++) {
                Vec sum = gw[o * width_ + i];
                for (int k = 0; k < POINTS; k++) sum += error_.data[k * shape_.outputs + o] * s[k * width_ + i];
                gw[o * width_ + i] = sum;
            }
            for (int k = 0; k < POINTS; k++) {
                Vec d{};
                for (int o = 0; o < shape_.outputs; o++) d += error_.data[k * shape_.outputs + o] * w[o * width_ + i];
                c[k * width_ + i] *= d;
            }
        }
        return loss;
    }

    // Gradient of layer l's weights and biases: [unit][input] += sum over points of delta [point][unit] x value [point][input].
    void weight_gradient(int l) {
        const Vec *d = slope(l), *in = value(l - 1);
        Vec *gw = g_.data + weight_[l], *gb = g_.data + bias_[l];
        for (int i = 0; i < width_; i += TILE) {
            for (int j = 0; j < width_; j += TILE) {
                Vec a[TILE][TILE];
                for (int u = 0; u < TILE; u++)
                    for (int v = 0; v < TILE; v++) a[u][v] = gw[(i + u) * width_ + j + v];
                for (int k = 0; k < POINTS; k++) {
                    Vec x[TILE];
                    for (int v = 0; v < TILE; v++) x[v] = in[k * width_ + j + v];
                    for (int u = 0; u < TILE; u++) {
                        Vec y = d[k * width_ + i + u];
                        for (int v = 0; v < TILE; v++) a[u][v] += y * x[v];
                    }
                }
                for (int u = 0; u < TILE; u++)
                    for (int v = 0; v < TILE; v++) gw[(i + u) * width_ + j + v] = a[u][v];
            }
            for (int u = i; u < i + TILE; u++)
                for (int k = 0; k < POINTS; k++) gb[u] += d[k * width_ + u];
        }
    }

    // Deltas of layer l to those of the layer before: [point][unit] x [unit][input] -> [point][input].
    void back(int l) {
        const Vec *w = p_.data + weight_[l], *d = slope(l);
        Vec* c = slope(l - 1);
        for (int j = 0; j < width_; j += TILE)
            for (int k = 0; k < POINTS; k += TILE) {
                Vec a[TILE][TILE] = {};
                for (int i = 0; i < width_; i++) {
                    Vec x[TILE];
                    for (int v = 0; v < TILE; v++) x[v] = w[i * width_ + j + v];
                    for (int u = 0; u < TILE; u++) {
                        Vec y = d[(k + u) * width_ + i];
                        for (int v = 0; v < TILE; v++) a[u][v] += y * x[v];
                    }
                }
                for (int u = 0; u < TILE; u++)
                    for (int v = 0; v < TILE; v++) c[(k + u) * width_ + j + v] *= a[u][v];
            }
    }

    void first_gradient(const float* points) {
        const Vec* d = slope(0);
        Vec *gw = g_.data + weight_[0], *gb = g_.data + bias_[0];
        for (int i = 0; i < width_; i++) {
            for (int k = 0; k < POINTS; k++) gb[i] += d[k * width_ + i];
            for (int e = 0; e < shape_.inputs; e++) {
                Vec sum = gw[i * shape_.inputs + e];
                for (int k = 0; k < POINTS; k++) sum += d[k * width_ + i] * points[k * shape_.inputs + e];
                gw[i * shape_.inputs + e] = sum;
            }
        }
    }

    Shape shape_;
    int width_, count_, blocks_, records_, taken_ = 0;
    std::vector<float> points_;
    std::vector<Wish> wishes_;
    std::vector<Outcome> outcomes_;
    std::vector<size_t> weight_, bias_, where_;
    size_t vecs_;
    AlignedVecs p_, g_, m_, v_, value_, slope_, error_, target_;
    Vec omega_{}, offset_{};
    std::array<Lane, LANES> lanes_{};
};

}  // namespace

std::unique_ptr<Fitter> make_fitter(Shape shape, const float* points, int count, std::vector<Wish> wishes, std::vector<Outcome> outcomes,
                                    int records) {
    if (shape.sine) return std::make_unique<LaneFitter<Sine>>(shape, points, count, std::move(wishes), std::move(outcomes), records);
    return std::make_unique<LaneFitter<Rectifier>>(shape, points, count, std::move(wishes), std::move(outcomes), records);
}

}  // namespace nws
