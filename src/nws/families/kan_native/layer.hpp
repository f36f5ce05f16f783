// A layer of cubic splines: y_p = sum_q w_b,pq silu(x_q) + w_s,pq sum_i c_pq,i B_i(x_q).
//
// The lane is an output p. Of the K = grid + 3 bases four are not zero, whose indices depend on x_q: they name rows of a table that
// has a row of outputs for each (q, i). Three rows of zeros stand on either side, so that beyond the grid nothing needs a branch.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "vector.hpp"

namespace kan {

// Memory on cache lines, zeroed.
struct Floats {
    size_t size = 0;
    std::unique_ptr<float[], void (*)(float*)> data{nullptr, free_aligned};

    Floats() = default;
    explicit Floats(size_t n) : size(n), data(static_cast<float*>(::operator new(4 * (n + LANES), std::align_val_t(64))), free_aligned) {
        zero();
    }
    void zero() { std::memset(data.get(), 0, 4 * size); }
    operator float*() { return data.get(); }
    operator const float*() const { return data.get(); }
    static void free_aligned(float* p) { ::operator delete(p, std::align_val_t(64)); }
};

// What 16 values mean to a spline: silu, the four bases that are not zero, which rows they multiply, and the derivatives.
struct alignas(64) Features {
    float silu[LANES], base[4][LANES];
    int32_t row[LANES];
    float silu_slope[LANES], base_slope[4][LANES];
};

// Where value `v` of a run of Features begins: its silu at [0], base i at [16 (1 + i)] ...
KAN_INLINE const float* feature(const Features* f, long v) {
    return reinterpret_cast<const float*>(f + (v >> 4)) + (v & (LANES - 1));
}
KAN_INLINE int32_t row_of(const float* at) {
    int32_t row;
    std::memcpy(&row, at + 5 * LANES, 4);
    return row;
}

// Features of n values (a multiple of 16), the knots being low + (m - 3) (high - low) / grid.
inline void describe(const float* x, long n, int grid, float low, float high, Features* out) {
    const float h = (high - low) / grid, first = low - 3 * h, per_h = 1 / h;
    for (long v = 0; v < n; v += LANES) {
        Features& f = out[v / LANES];
        Vec value = load(x + v);
        Vec u = clamp((value - first) * per_h, 0.0f, float(grid + 6));
        IntVec j = to_int(u);
        j = j < grid + 5 ? j : IntVec{} + (grid + 5);
        u = u - to_float(j);
        Vec rest = 1.0f - u, square = u * u;
        std::memcpy(f.row, &j, sizeof j);
        store(f.base[0], rest * rest * rest * (1 / 6.0f));
        store(f.base[1], (square * (3 * u - 6.0f) + 4.0f) * (1 / 6.0f));
        store(f.base[2], (u * (3.0f + 3 * u - 3 * square) + 1.0f) * (1 / 6.0f));
        store(f.base[3], square * u * (1 / 6.0f));
        store(f.base_slope[0], rest * rest * (-0.5f * per_h));
        store(f.base_slope[1], u * (3 * u - 4.0f) * (0.5f * per_h));
        store(f.base_slope[2], (u * (2.0f - 3 * u) + 1.0f) * (0.5f * per_h));
        store(f.base_slope[3], square * (0.5f * per_h));
        Vec sigmoid = 1.0f / (1.0f + exponential(-value));
        store(f.silu, value * sigmoid);
        store(f.silu_slope, sigmoid * (1.0f + value * (1.0f - sigmoid)));
    }
}

struct Adam {
    float rate, decay, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
    float correction1 = 1, correction2 = 1;  // 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
};

struct Layer {
    int inputs, outputs, grid, bases, rows, wide;  // wide: outputs, padded to whole vectors
    Floats weights, mean, square;                  // [input][w_b, w_s, c_0 ...][wide]: parameters and Adam's moments
    Floats table, slope;                           // [input][rows][wide]: w_b, three zeros, w_s c_i, three zeros; and its gradient

    Layer(int inputs, int outputs, int grid)
        : inputs(inputs), outputs(outputs), grid(grid), bases(grid + 3), rows(grid + 10),
          wide((outputs + LANES - 1) / LANES * LANES), weights(size_t(inputs) * (2 + bases) * wide), mean(weights.size),
          square(weights.size), table(size_t(inputs) * rows * wide), slope(table.size) {}

    size_t count() const { return size_t(inputs) * outputs * (2 + bases); }

    // Theta's order: w_b (outputs, inputs), w_s (outputs, inputs), c (outputs, inputs, bases).
    template <class Move>
    void each(Move move) {
        size_t edges = size_t(inputs) * outputs;
        for (int p = 0; p < outputs; p++)
            for (int q = 0; q < inputs; q++) {
                size_t edge = size_t(p) * inputs + q;
                float* at = weights + size_t(q) * (2 + bases) * wide + p;
                move(edge, at[0]);
                move(edges + edge, at[wide]);
                for (int i = 0; i < bases; i++) move(2 * edges + edge * bases + i, at[(2 + i) * wide]);
            }
    }

    void tabulate() {
        for (int q = 0; q < inputs; q++)
            for (int o = 0; o < wide; o += LANES) {
                const float* w = weights + size_t(q) * (2 + bases) * wide + o;
                float* t = table + size_t(q) * rows * wide + o;
                store(t, load(w));
                for (int i = 0; i < bases; i++) store(t + (4 + i) * wide, load(w + wide) * load(w + (2 + i) * wide));
            }
    }

    // From the gradient of the table that of the parameters, Adam's step with decoupled decay, and the new table; the gradient is
    // then 0 again. One pass: each number is touched once.
    void update(const Adam& adam) {
        for (int q = 0; q < inputs; q++)
            for (int o = 0; o < wide; o += LANES) {
                size_t at = size_t(q) * (2 + bases) * wide + o;
                float* w = weights + at;
                float* t = table + size_t(q) * rows * wide + o;
                float* g = slope + size_t(q) * rows * wide + o;
                Vec scale = load(w + wide), of_scale{};
                store(t, step(at, load(g), adam));
                for (int i = 0; i < bases; i++) {
                    Vec gradient = load(g + (4 + i) * wide);
                    of_scale = of_scale + gradient * load(w + (2 + i) * wide);
                    store(t + (4 + i) * wide, step(at + (2 + i) * wide, gradient * scale, adam));  // c_i yet without the new w_s
                }
                scale = step(at + wide, of_scale, adam);
                for (int i = 0; i < bases; i++) store(t + (4 + i) * wide, load(t + (4 + i) * wide) * scale);
            }
        slope.zero();
    }

    KAN_INLINE Vec step(size_t at, Vec gradient, const Adam& adam) {
        Vec m = load(mean + at), v = load(square + at), w = load(weights + at);
        m = m + (gradient - m) * (1 - adam.beta1);
        v = v * adam.beta2 + gradient * gradient * (1 - adam.beta2);
        w = w * (1 - adam.rate * adam.decay);
        w = w - (adam.rate * adam.correction1) * m / (square_root(v) * adam.correction2 + adam.epsilon);
        store(mean + at, m);
        store(square + at, v);
        store(weights + at, w);
        return w;
    }
};

constexpr int INPUTS_AT_ONCE = 16;  // their rows of the table (30 kB for 32 outputs) stay in the first cache for all images

// y (n, wide) of n images; value(image, input) says which of the features is the input's.
template <int VECTORS, class Value>
void forward_some(const Layer& l, const Features* f, Value value, long n, float* y, int o) {
    for (int first = 0; first < l.inputs; first += INPUTS_AT_ONCE) {
        int last = first + INPUTS_AT_ONCE < l.inputs ? first + INPUTS_AT_ONCE : l.inputs;
        for (long image = 0; image < n; image++) {
            Vec total[5][VECTORS] = {};  // five sums: one alone would wait for its own last addition
            for (int q = first; q < last; q++) {
                const float* at = feature(f, value(image, q));
                const float* t = l.table + size_t(q) * l.rows * l.wide + o;
                const float* r = t + size_t(1 + row_of(at)) * l.wide;
                for (int k = 0; k < VECTORS; k++) total[0][k] = fma(at[0], load(t + LANES * k), total[0][k]);
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++)
                    for (int k = 0; k < VECTORS; k++)
                        total[1 + i][k] = fma(at[(1 + i) * LANES], load(r + i * l.wide + LANES * k), total[1 + i][k]);
            }
            for (int k = 0; k < VECTORS; k++) {
                float* out = y + image * l.wide + o + LANES * k;
                Vec sum = (total[0][k] + total[1][k]) + (total[2][k] + total[3][k]) + total[4][k];
                store(out, first ? load(out) + sum : sum);
            }
        }
    }
}

template <class Value>
void forward(const Layer& l, const Features* f, Value value, long n, float* y) {
    int o = 0;
    for (; o + 2 * LANES <= l.wide; o += 2 * LANES) forward_some<2>(l, f, value, n, y, o);
    if (o < l.wide) forward_some<1>(l, f, value, n, y, o);
}

// Adds the gradient of the table, given dy (n, wide); with INPUT also that of the values: dx (n, stride), set where o is 0.
template <int VECTORS, bool INPUT, class Value>
void backward_some(Layer& l, const Features* f, Value value, long n, const float* dy, float* dx, long stride, int o) {
    for (int first = 0; first < l.inputs; first += INPUTS_AT_ONCE) {
        int last = first + INPUTS_AT_ONCE < l.inputs ? first + INPUTS_AT_ONCE : l.inputs;
        for (long image = 0; image < n; image++) {
            Vec d[VECTORS];
            for (int k = 0; k < VECTORS; k++) d[k] = load(dy + image * l.wide + o + LANES * k);
            for (int q = first; q < last; q++) {
                const float* at = feature(f, value(image, q));
                size_t start = size_t(q) * l.rows * l.wide + o, shifted = start + size_t(1 + row_of(at)) * l.wide;
                for (int k = 0; k < VECTORS; k++) {
                    float* g = l.slope + start + LANES * k;
                    store(g, fma(at[0], d[k], load(g)));
                }
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++)
                    for (int k = 0; k < VECTORS; k++) {
                        float* g = l.slope + shifted + i * l.wide + LANES * k;
                        store(g, fma(at[(1 + i) * LANES], d[k], load(g)));
                    }
                if constexpr (INPUT) {
                    Vec along{};
                    for (int k = 0; k < VECTORS; k++) {
                        const float* t = l.table + start + LANES * k;
                        const float* r = l.table + shifted + LANES * k;
                        Vec slope = at[6 * LANES] * load(t);
                        Vec more = at[7 * LANES] * load(r);
                        slope = fma(at[8 * LANES], load(r + l.wide), slope);
                        more = fma(at[9 * LANES], load(r + 2 * l.wide), more);
                        slope = fma(at[10 * LANES], load(r + 3 * l.wide), slope);
                        along = fma(slope + more, d[k], along);
                    }
                    float* out = dx + image * stride + q;
                    *out = o ? *out + sum(along) : sum(along);
                }
            }
        }
    }
}

template <bool INPUT, class Value>
void backward(Layer& l, const Features* f, Value value, long n, const float* dy, float* dx, long stride) {
    int o = 0;
    for (; o + 2 * LANES <= l.wide; o += 2 * LANES) backward_some<2, INPUT>(l, f, value, n, dy, dx, stride, o);
    if (o < l.wide) backward_some<1, INPUT>(l, f, value, n, dy, dx, stride, o);
}

// What each edge puts out over images: sums of |phi|, of phi less its first value, and of the square of that; (inputs, wide) each.
// Without the first value, the deviation of an edge that hardly varies would drown in the rounding of its mean.
struct Scores {
    std::vector<float> first;
    std::vector<double> size, sum, square;
    explicit Scores(size_t n) : first(n), size(n), sum(n), square(n) {}
};

template <class Value>
void score(const Layer& l, const Features* f, Value value, long n, bool begin, Scores& scores) {
    for (int q = 0; q < l.inputs; q++)
        for (int o = 0; o < l.wide; o += LANES) {
            const size_t edge = size_t(q) * l.wide + o;
            Vec size{}, sum{}, square{}, first{};
            if (!begin) std::memcpy(&first, &scores.first[edge], sizeof first);
            for (long image = 0; image < n; image++) {
                const float* at = feature(f, value(image, q));
                const float* t = l.table + size_t(q) * l.rows * l.wide + o;
                const float* r = t + size_t(1 + row_of(at)) * l.wide;
                Vec phi = at[0] * load(t);
                for (int i = 0; i < 4; i++) phi = fma(at[(1 + i) * LANES], load(r + i * l.wide), phi);
                if (begin && !image) first = phi;
                Vec off = phi - first;
                size += phi < 0 ? -phi : phi;
                sum += off;
                square = fma(off, off, square);
            }
            std::memcpy(&scores.first[edge], &first, sizeof first);
            for (int lane = 0; lane < LANES; lane++) {
                scores.size[edge + lane] += size[lane];
                scores.sum[edge + lane] += sum[lane];
                scores.square[edge + lane] += square[lane];
            }
        }
}

}  // namespace kan
