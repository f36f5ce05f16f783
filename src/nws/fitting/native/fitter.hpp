// Fits many small fully connected nets of one shape, each to a signal of its own, on the same points: LANES nets side by
// side, one net per lane. No operation crosses lanes, so a net does not depend on its neighbours, bit for bit.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "../../train/native/denormals.hpp"
#include "../../train/native/functions.hpp"
#include "../../train/native/vec.hpp"

namespace nws {

constexpr int TILE = 4;    // a tile of TILE x TILE sums and what it reads fit into 32 registers
constexpr int POINTS = 16;  // at a time: activations of two layers of 32 units are 128 KB, in the second-level cache

struct Shape {
    int inputs, width, depth, outputs;  // depth hidden layers of `width` units
    bool sine;                          // sin(omega z) and a linear output; else max(z, 0) and a logistic output
};

// What is asked for one net. `records` are the steps, not falling, at which its weights are kept.
struct Wish {
    const float *theta, *target;  // (P,) and (points, outputs)
    int steps;
    float learning_rate, omega, offset, goal;  // goal: mean squared error at which it stops
    const int64_t* records;
};

// What became of it: a row per record. `steps` is where the weights are from: earlier than asked when the goal was met.
struct Outcome {
    float *theta, *loss;  // (S, P), (S,)
    int64_t* steps;       // (S,)
};

NWS_INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }

// Sine and cosine to about one unit in the last place for |x| < 10^5: two-part reduction by pi/2, Cephes' polynomials.
NWS_INLINE void sine_cosine(Vec x, Vec& sine, Vec& cosine) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, which its low bits then are
    Vec shifted = x * 0.636619772f + magic;
    BitVec quadrant = reinterpret_cast<BitVec>(shifted);
    Vec n = shifted - magic;
    Vec r = x - n * 1.57079637f;
    r = r + n * 4.37113900e-8f;
    Vec r2 = r * r;
    Vec s = r2 * -1.95152959e-4f + 8.33216087e-3f;
    s = s * r2 - 1.66666546e-1f;
    s = s * r2 * r + r;
    Vec c = r2 * 2.44331571e-5f - 1.38873163e-3f;
    c = c * r2 + 4.16666456e-2f;
    c = c * r2 - 0.5f;
    c = c * r2 + 1.0f;
    IntVec swapped = reinterpret_cast<IntVec>(quadrant << 31) < 0;
    BitVec sine_sign = (quadrant << 30) & 0x80000000u, cosine_sign = ((quadrant + 1) << 30) & 0x80000000u;
    sine = reinterpret_cast<Vec>(reinterpret_cast<BitVec>(select(swapped, c, s)) ^ sine_sign);
    cosine = reinterpret_cast<Vec>(reinterpret_cast<BitVec>(select(swapped, s, c)) ^ cosine_sign);
}

// z -> the unit's value and its derivative; the output's y -> the same.
struct Sine {
    static NWS_INLINE void hidden(Vec z, Vec omega, Vec& value, Vec& slope) {
        Vec cosine;
        sine_cosine(omega * z, value, cosine);
        slope = omega * cosine;
    }
    static NWS_INLINE Vec output(Vec y, Vec& slope) {
        slope = all(1.0f);
        return y;
    }
};

struct Rectifier {
    static NWS_INLINE void hidden(Vec z, Vec, Vec& value, Vec& slope) {
        value = positive_part(z);
        slope = select(z > 0.0f, all(1.0f), Vec{});
    }
    static NWS_INLINE Vec output(Vec y, Vec& slope) {
        Vec value = 1.0f / (1.0f + exp(-y));
        slope = value * (1.0f - value);
        return value;
    }
};

struct AlignedVecs {
    Vec* data = nullptr;
    explicit AlignedVecs(size_t n) : data(static_cast<Vec*>(::operator new(n * sizeof(Vec), std::align_val_t(64)))) {
        std::memset(data, 0, n * sizeof(Vec));
    }
    ~AlignedVecs() { ::operator delete(data, std::align_val_t(64)); }
    AlignedVecs(const AlignedVecs&) = delete;
    AlignedVecs& operator=(const AlignedVecs&) = delete;
};

class Fitter {
public:
    virtual ~Fitter() = default;
    // Loss and gradient of up to LANES nets at once: theta (n, P), target (n, points, outputs), loss (n,), gradient (n, P).
    virtual void gradient(const Wish* wishes, int n, float* loss, float* gradient) = 0;
    // Go on with the fit for some passes over the points; false once every wish is done.
    virtual bool advance(int passes) = 0;
    virtual size_t size() const = 0;
};

// points: (count, inputs). Wishes and outcomes must outlive the fitter.
std::unique_ptr<Fitter> make_fitter(Shape shape, const float* points, int count, std::vector<Wish> wishes, std::vector<Outcome> outcomes,
                                    int records);

}  // namespace nws
