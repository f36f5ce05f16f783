// Convolution with fewer multiplications: one-dimensional Winograd (Toom-Cook) along a row, plain along the columns.
//
// Four neighbouring outputs of a K-tap row filter cost 4 K multiplications by the definition. As a product of
// polynomials they need only A = K + 3: evaluate input and filter at A points, multiply, interpolate. With x the K + 3
// inputs and w the filter,
//
//     y = AT ((G w) * (BT x))        forward; the input gradient is the same with other weights
//     dw = GT ((A dy) * (BT x))      weight gradient
//
// 2, 2.5, 2.8 times fewer multiplications for K = 3, 5, 7. What makes it pay: with LANES images innermost, BT x and AT
// m are plain vector additions of neighbours, no shuffles, and each is shared by all channels. Measured, whole training
// steps against direct.hpp on one Zen 4 core, batch 64: 1.2 times faster (smallest net, K = 3), 2.0 (fixed, 5), 2.2
// (largest, 7). In two dimensions the transforms would outgrow the gain at 3 to 48 channels, and the rounding error
// would square.
//
// Memory, per block and column of tiles (4 pixels wide, all rows):
//     strip    [A][channel][row, with border][lane]     BT x        (stays in L2: 50 to 340 KB)
//     weights  [group][A][channel][K rows][GROUP]       G w, broadcast
#pragma once

#include <array>

#include "convolution.hpp"

namespace nws {

// The matrices for the points 0, +p, -p ... of `halves`, and infinity.
template <int K>
struct ToomCook {
    static constexpr int M = 4, A = M + K - 1;
    double g[A][K]{}, bt[A][A]{}, at[M][A]{};

    // The points decide the rounding error; these are the best of a search over small fractions. Relative error of a
    // layer for K = 3: 2.2e-7, 5: 5.8e-7, 7: 1.6e-6; by the definition: 1.2e-7, 2.3e-7, 3.1e-7; with the textbook's 1,
    // 2, 1/2, 4 for K = 7: 5.1e-6.
    static constexpr std::array<double, (A - 2) / 2> halves() {
        if constexpr (K == 3) return {0.5, 2.0};
        if constexpr (K == 5) return {1.0, 2.0, 0.5};
        if constexpr (K == 7) return {0.5, 0.75, 4.0 / 3.0, 2.0};
    }

    constexpr ToomCook() {
        double point[A - 1]{};
        for (int f = 1; f < A - 1; f++) point[f] = halves()[(f - 1) / 2] * (f % 2 ? 1 : -1);
        for (int f = 0; f < A; f++) {
            bool infinity = f == A - 1;
            // Row f of BT: the coefficients of the product of (x - point) over all the other points.
            int degree = 0;
            bt[f][0] = 1;
            double scale = 1;
            for (int other = 0; other < A - 1; other++) {
                if (other == f) continue;
                degree++;
                for (int i = degree; i >= 0; i--)
                    bt[f][i] = (i ? bt[f][i - 1] : 0) - point[other] * (i < degree ? bt[f][i] : 0);
                if (!infinity) scale *= point[f] - point[other];
            }
            for (int k = 0; k < K; k++) g[f][k] = infinity ? k == K - 1 : power(point[f], k) / scale;
            for (int i = 0; i < M; i++) at[i][f] = infinity ? i == M - 1 : power(point[f], i);
        }
    }

    static constexpr double power(double x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }
};

template <int K>
class WinogradConvolution : public Convolution {
public:
    explicit WinogradConvolution(ConvolutionShape shape)
        : shape_(shape),
          forward_(size_t(shape.groups()) * GROUP * A * shape.in * K),
          backward_(size_t(shape.transposed().groups()) * GROUP * A * shape.out * K),
          bias_(size_t(shape.groups()) * GROUP),
          no_bias_(size_t(shape.transposed().groups()) * GROUP),
          strips_(size_t(strips_together()) * A * std::max(shape.in, shape.out) * (shape.side + K - 1) * LANES),
          gradient_strips_(size_t(strips_together()) * A * shape.groups() * GROUP * shape.side * LANES),
          sums_(size_t(A) * shape.groups() * GROUP * shape.in * K * LANES) {}

    void set_weights(const float* weight, const float* bias, bool with_gradient) override {
        transform_weights({weight, shape_, false}, forward_.data());
        std::copy(bias, bias + shape_.out, bias_.data());
        if (with_gradient) transform_weights({weight, shape_.transposed(), true}, backward_.data());
    }

    void forward(View x, View y, Moments* moments, long& tiles) override {
        correlate(shape_, x, forward_.data(), bias_.data(), y, moments, tiles);
    }

    void input_gradient(View dy, View dx) override {
        long unused = 0;
        correlate(shape_.transposed(), dy, backward_.data(), no_bias_.data(), dx, nullptr, unused);
    }

    void clear_weight_gradient() override { sums_.clear(); }

    void add_weight_gradient(View x, View dy) override {
        long strip = long(A) * shape_.in * (shape_.side + K - 1) * LANES,
             gradient_strip = long(A) * shape_.groups() * GROUP * shape_.side * LANES;
        for (int first = 0; first < shape_.side / M; first += strips_together()) {
            for (int t = 0; t < strips_together(); t++) {
                transform_input(shape_, x, first + t, strips_.data() + t * strip);
                transform_gradient(dy, first + t, gradient_strips_.data() + t * gradient_strip);
            }
            float* sums = sums_.data();
            for (int f = 0; f < A; f++)
                for (int group = 0; group < shape_.groups(); group++)
                    for (int c = 0; c < shape_.in; c++, sums += K * GROUP * LANES)
                        for (int t = 0; t < strips_together(); t++)
                            add_products<0>(
                                gradient_strips_.data() + t * gradient_strip +
                                    (long(f) * shape_.groups() + group) * GROUP * shape_.side * LANES,
                                strips_.data() + t * strip + (long(f) * shape_.in + c) * (shape_.side + K - 1) * LANES,
                                sums);
        }
    }

    void take_weight_gradient(float* gradient) override {
        long per_point = long(shape_.groups()) * shape_.in * K * GROUP * LANES;
        const float* sums = sums_.data();
        for (int group = 0; group < shape_.groups(); group++)
            for (int c = 0; c < shape_.in; c++)
                for (int row = 0; row < K; row++)
                    for (int i = 0; i < GROUP; i++, sums += LANES) {
                        int o = group * GROUP + i;
                        if (o >= shape_.out) continue;
                        float* target = gradient + ((long(o) * shape_.in + c) * K + row) * K;
#pragma GCC unroll 16
                        for (int k = 0; k < K; k++) {
                            Vec total{};
#pragma GCC unroll 16
                            for (int f = 0; f < A; f++) total += float(T.g[f][k]) * load(sums + f * per_point);
                            target[k] = sum(total);
                        }
                    }
    }

private:
    static constexpr ToomCook<K> T{};
    static constexpr int M = T.M, A = T.A;
    static constexpr int ROWS = REGISTERS == 32 ? 4 : 2;                 // of sums in registers, x GROUP channels
    static constexpr int TAPS = REGISTERS == 32 ? (K <= 5 ? K : 4) : 2;  // of a window's column, x GROUP channels

    // Tiles side by side whose products are summed before a sum goes back to memory: the sums are many (A x weights x
    // lanes).
    int strips_together() const { return std::max(1, std::min(shape_.side / M, 64 / shape_.side)); }

    static void transform_weights(Filters filters, float* packed) {
        ConvolutionShape s = filters.shape;
        for (int group = 0; group < s.groups(); group++)
            for (int c = 0; c < s.in; c++)
                for (int row = 0; row < K; row++)
                    for (int i = 0; i < GROUP; i++) {
                        float w[K];
                        for (int k = 0; k < K; k++) w[k] = filters.at(group * GROUP + i, c, row, k);
#pragma GCC unroll 16
                        for (int f = 0; f < A; f++) {
                            float value = 0;
#pragma GCC unroll 16
                            for (int k = 0; k < K; k++) value += float(T.g[f][k]) * w[k];
                            packed[(((long(group) * A + f) * s.in + c) * K + row) * GROUP + i] = value;
                        }
                    }
    }

    // strip = BT x. Points come in pairs +p, -p whose rows differ in the sign of the odd terms: the even and odd sums
    // are shared.
    static void transform_input(ConvolutionShape s, View x, int t, float* strip) {
        long rows = s.side + K - 1, point = s.in * rows * LANES;
        for (int c = 0; c < s.in; c++)
            for (int h = 0; h < rows; h++, strip += LANES) {
                const float* pixel = x.at(c, h - K / 2, t * M - K / 2);
                Vec v[A];
#pragma GCC unroll 16
                for (int i = 0; i < A; i++) v[i] = load(pixel + i * LANES);
                Vec zero = float(T.bt[0][0]) * v[0], infinity = float(T.bt[A - 1][1]) * v[1];
#pragma GCC unroll 16
                for (int i = 2; i < A - 1; i += 2) zero += float(T.bt[0][i]) * v[i];
#pragma GCC unroll 16
                for (int i = 3; i < A; i += 2) infinity += float(T.bt[A - 1][i]) * v[i];
                store(strip, zero);
                store(strip + (A - 1) * point, infinity);
#pragma GCC unroll 16
                for (int f = 1; f < A - 1; f += 2) {
                    Vec odd = float(T.bt[f][1]) * v[1], even = float(T.bt[f][2]) * v[2];
#pragma GCC unroll 16
                    for (int i = 3; i < A - 1; i += 2) odd += float(T.bt[f][i]) * v[i];
#pragma GCC unroll 16
                    for (int i = 4; i < A - 1; i += 2) even += float(T.bt[f][i]) * v[i];
                    store(strip + f * point, even + odd);
                    store(strip + (f + 1) * point, even - odd);
                }
            }
    }

    void correlate(ConvolutionShape s, View x, const float* weights, const float* bias, View y, Moments* moments,
                   long& tiles) {
        for (int t = 0; t < s.side / M; t++) {
            transform_input(s, x, t, strips_.data());
            for (int h = 0; h < s.side; h += ROWS, tiles++) {
                MergeShare share(tiles, ROWS * M);
                for (int group = 0; group < s.groups(); group++) {
                    alignas(64) float products[A][GROUP][ROWS][LANES];
                    for (int f = 0; f < A; f++)
                        multiply(s, strips_.data() + (long(f) * s.in * (s.side + K - 1) + h) * LANES,
                                 weights + (long(group) * A + f) * s.in * K * GROUP, products[f]);
                    for (int i = 0; i < GROUP && group * GROUP + i < s.out; i++) {
                        int o = group * GROUP + i;
                        Vec tile[ROWS * M];
                        interpolate(products, i, bias[o], tile);
#pragma GCC unroll 16
                        for (int j = 0; j < ROWS * M; j++) store(y.at(o, h + j / M, t * M + j % M), tile[j]);
                        if (moments) merge(moments[o], tile, share);
                    }
                }
            }
        }
    }

    // One point: products[GROUP][ROWS] = sum over input channels and the window's rows.
    static NWS_INLINE void multiply(ConvolutionShape s, const float* strip, const float* weights,
                                    float (&products)[GROUP][ROWS][LANES]) {
        Vec sums[GROUP][ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < ROWS; j++) sums[i][j] = Vec{};
#pragma GCC unroll 1
        for (int c = 0; c < s.in; c++, strip += (s.side + K - 1) * LANES, weights += K * GROUP) {
            Vec v[ROWS + K - 1];
#pragma GCC unroll 16
            for (int j = 0; j < ROWS + K - 1; j++) v[j] = load(strip + j * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < K; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
                    for (int j = 0; j < ROWS; j++) sums[i][j] += weights[k * GROUP + i] * v[j + k];
        }
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < ROWS; j++) store(products[i][j], sums[i][j]);
    }

    // tile[row * M + column] = AT products + bias, for channel i of the group.
    static NWS_INLINE void interpolate(const float (&products)[A][GROUP][ROWS][LANES], int i, float bias,
                                       Vec (&tile)[ROWS * M]) {
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            Vec even[A / 2], odd[A / 2];
#pragma GCC unroll 16
            for (int f = 1; f < A - 1; f += 2) {
                Vec plus = load(products[f][i][j]), minus = load(products[f + 1][i][j]);
                even[f / 2] = plus + minus;
                odd[f / 2] = plus - minus;
            }
#pragma GCC unroll 8
            for (int m = 0; m < M; m++) {
                Vec y = all(bias);
                if (m == 0) y += load(products[0][i][j]);
                if (m == M - 1) y += load(products[A - 1][i][j]);
#pragma GCC unroll 16
                for (int f = 1; f < A - 1; f += 2) y += float(T.at[m][f]) * (m % 2 ? odd[f / 2] : even[f / 2]);
                tile[j * M + m] = y;
            }
        }
    }

    // gradient strip [A][channel][row][lane] = A dy
    void transform_gradient(View dy, int t, float* strip) const {
        long channels = long(shape_.groups()) * GROUP, point = channels * shape_.side * LANES;
        for (int o = 0; o < channels; o++)
            for (int h = 0; h < shape_.side; h++, strip += LANES) {
                const float* pixel =
                    dy.at(std::min(o, shape_.out - 1), h, t * M);  // nobody reads the sums of a padded channel
                Vec v[M];
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) v[i] = load(pixel + i * LANES);
                store(strip, v[0]);
                store(strip + (A - 1) * point, v[M - 1]);
#pragma GCC unroll 16
                for (int f = 1; f < A - 1; f += 2) {
                    Vec even = v[0] + float(T.at[2][f]) * v[2],
                        odd = float(T.at[1][f]) * v[1] + float(T.at[3][f]) * v[3];
                    store(strip + f * point, even + odd);
                    store(strip + (f + 1) * point, even - odd);
                }
            }
    }

    // sums [K][GROUP][lane] += over rows gradient(group, row) * input(row + k), from tap FIRST on.
    template <int FIRST>
    NWS_INLINE void add_products(const float* gradient, const float* input, float* sums) const {
        if constexpr (FIRST < K) {
            constexpr int COUNT = std::min(TAPS, K - FIRST);
            Vec s[COUNT][GROUP];
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++) s[k][i] = load(sums + ((FIRST + k) * GROUP + i) * LANES);
            long channel = shape_.side * LANES;
#pragma GCC unroll 1
            for (int h = 0; h < shape_.side; h++) {
                Vec g[GROUP];
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++) g[i] = load(gradient + i * channel + h * LANES);
#pragma GCC unroll 8
                for (int k = 0; k < COUNT; k++) {
                    Vec v = load(input + (h + FIRST + k) * LANES);
#pragma GCC unroll 8
                    for (int i = 0; i < GROUP; i++) s[k][i] += g[i] * v;
                }
            }
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++) store(sums + ((FIRST + k) * GROUP + i) * LANES, s[k][i]);
            add_products<FIRST + COUNT>(gradient, input, sums);
        }
    }

    ConvolutionShape shape_;
    Buffer forward_, backward_, bias_, no_bias_;
    Buffer strips_, gradient_strips_, sums_;
};

}  // namespace nws
