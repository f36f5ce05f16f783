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
//     strip    [A][channel][phase][row, with border][lane]     BT x        (stays in L2: 50 to 340 KB)
//     weights  [group][A][phase][channel][tap][GROUP]          G w, broadcast
// Phases: toom_cook.hpp; K = 7 has three with 4, 4, 3 taps, the others one with K.
#pragma once

#include "convolution.hpp"
#include "toom_cook.hpp"

namespace nws {

template <int K>
class WinogradConvolution : public Convolution {
public:
    explicit WinogradConvolution(ConvolutionShape shape)
        : Convolution(shape, packed_size(shape), packed_size(shape.transposed())),
          strip_(size_t(A) * std::max(shape.in, shape.out) * channel_size(shape.side)),
          input_strips_(size_t(strips_together()) * input_strip()),
          gradient_strips_(size_t(strips_together()) * gradient_strip()),
          sums_(packed_size(shape) * LANES) {}

    void clear_weight_gradient() override { fresh_ = true; }

    // Strips are gathered until there are enough of them to be worth a walk over the sums.
    void add_weight_gradient(View x, View dy) override {
        for (int t = 0; t < shape_.side / M; t++) {
            transform_input(shape_, x, t, input_strips_.data() + gathered_ * input_strip());
            transform_gradient(dy, t, gradient_strips_.data() + gathered_ * gradient_strip());
            if (++gathered_ == strips_together()) add_strips();
        }
    }

    void take_weight_gradient(int part, float* gradient) override {
        if (gathered_) add_strips();
        long per_point = long(shape_.groups()) * shape_.in * PRODUCTS * GROUP * LANES;
        const float* sums = sums_.data();
        for (int group = 0; group < shape_.groups(); group++)
            for (int c = 0; c < shape_.in; c++, sums += PRODUCTS * GROUP * LANES)
                for (int i = 0; i < GROUP && group * GROUP + i < shape_.out; i++) {
                    long target = (long(group * GROUP + i) * shape_.in + c) * K * K;
                    for (int row = 0; row < K; row++, target += K) {
                        Vec points[A];
#pragma GCC unroll 16
                        for (int f = 0; f < A; f++)
                            points[f] = C::row(row, [&](int phase, int tap) __attribute__((always_inline)) {
                                return load(sums + f * per_point + ((C::first(phase) + tap) * GROUP + i) * LANES);
                            });
#pragma GCC unroll 16
                        for (int k = 0; k < K; k++) {
                            Vec total{};
#pragma GCC unroll 16
                            for (int f = 0; f < A; f++) total = fma(float(T.g[f][k]), points[f], total);
                            take(part, total, target + k, gradient);
                        }
                    }
                }
    }

private:
    using C = Columns<K>;
    static constexpr ToomCook<K> T{};
    static constexpr int M = T.M, A = T.A, PHASES = C::PHASES, STRIDE = C::STRIDE, PRODUCTS = C::PRODUCTS;
    static constexpr int ROWS = 4;  // of a tile, whose moments are taken together: everywhere the same
    static constexpr int TOGETHER = REGISTERS == 32 ? 4 : 2;  // of them in registers, x GROUP channels
    static constexpr int TAPS = REGISTERS == 32 ? 4 : 3;  // of a window's column, x GROUP channels

    // Floats of one channel and point in a strip, and in a gradient strip.
    static constexpr long rows(int side) { return side / STRIDE + C::taps(0) - 1; }
    static constexpr long channel_size(int side) { return PHASES * rows(side) * LANES; }
    static constexpr long gradient_size(int side) { return PHASES * (side / STRIDE) * LANES; }
    static size_t packed_size(ConvolutionShape s) { return size_t(s.groups()) * GROUP * A * s.in * PRODUCTS; }

    long input_strip() const { return A * shape_.in * channel_size(shape_.side); }
    long gradient_strip() const { return A * shape_.groups() * GROUP * gradient_size(shape_.side); }

    // Strips whose products are summed before the sums go back to memory: those are A x weights x lanes, 8 MB for 48
    // channels in and out and K = 7.
    int strips_together() const { return std::max(1, 64 / shape_.side); }

    // packed [group][A][phase][channel][tap][GROUP] = G w
    void pack(Filters filters, float* packed) const override {
        ConvolutionShape s = filters.shape;
        for (int group = 0; group < s.groups(); group++, packed += long(A) * s.in * PRODUCTS * GROUP)
            for (int phase = 0; phase < PHASES; phase++)
                for (int c = 0; c < s.in; c++)
                    for (int tap = 0; tap < C::taps(phase); tap++) {
                        GroupVec w[K];
                        for (int k = 0; k < K; k++)
                            for (int i = 0; i < GROUP; i++)
                                w[k][i] = C::weight(phase, tap,
                                                    [&](int row) { return filters.at(group * GROUP + i, c, row, k); });
                        float* target = packed + (long(C::first(phase)) * s.in + c * C::taps(phase) + tap) * GROUP;
#pragma GCC unroll 16
                        for (int f = 0; f < A; f++, target += long(s.in) * PRODUCTS * GROUP) {
                            GroupVec value{};
#pragma GCC unroll 16
                            for (int k = 0; k < K; k++) value = fma(float(T.g[f][k]) - GroupVec{}, w[k], value);
                            *reinterpret_cast<GroupVec*>(target) = value;
                        }
                    }
    }

    // strip = BT x of one row. Points come in pairs +p, -p whose rows differ in the sign of the odd terms: the even and
    // odd sums are shared.
    static NWS_INLINE void evaluate(const float* pixel, Vec (&value)[A]) {
        Vec v[A];
#pragma GCC unroll 16
        for (int i = 0; i < A; i++) v[i] = load(pixel + i * LANES);
        value[0] = combined(T.bt[0], 0, A - 1, v);
        value[A - 1] = combined(T.bt[A - 1], 1, A, v);
#pragma GCC unroll 16
        for (int f = 1; f < A - 1; f += 2) {
            Vec odd = combined(T.bt[f], 1, A - 1, v), even = combined(T.bt[f], 2, A - 1, v);
            value[f] = even + odd;
            value[f + 1] = even - odd;
        }
    }

    // The sum of factor * v for every second one from `first` to before `end`, at least two. The first product joins
    // the second; where it is +-1, and so exact, the second joins the first.
    static NWS_INLINE Vec combined(const double (&factor)[A], int first, int end, const Vec (&v)[A]) {
        float one = float(factor[first]), two = float(factor[first + 2]);
        bool exact = one == 1.0f || one == -1.0f;
        Vec total = exact ? fma(two, v[first + 2], one * v[first]) : fma(one, v[first], two * v[first + 2]);
#pragma GCC unroll 16
        for (int i = first + 4; i < end; i += 2) total = fma(float(factor[i]), v[i], total);
        return total;
    }

    static void transform_input(ConvolutionShape s, View x, int t, float* strip) {
        long count = rows(s.side), phase = count * LANES, point = s.in * channel_size(s.side);
        for (int c = 0; c < s.in; c++, strip += channel_size(s.side)) {
            const float* pixel = x.at(c, -(K / 2), t * M - K / 2);
            if constexpr (PHASES == 1) {
                for (int h = 0; h < count; h++) {
                    Vec value[A];
                    evaluate(pixel + h * x.row, value);
#pragma GCC unroll 16
                    for (int f = 0; f < A; f++) store(strip + f * point + h * LANES, value[f]);
                }
            } else {
                Vec upper[A], lower[A];
                evaluate(pixel, upper);
                for (int h = 0; h < count; h++) {
                    float* target = strip + h * LANES;
                    evaluate(pixel + (2 * h + 1) * x.row, lower);
#pragma GCC unroll 16
                    for (int f = 0; f < A; f++) {
                        store(target + f * point, upper[f] - lower[f]);
                        store(target + f * point + phase, lower[f]);
                    }
                    if (h + 1 == count) break;
                    evaluate(pixel + (2 * h + 2) * x.row, upper);
#pragma GCC unroll 16
                    for (int f = 0; f < A; f++) store(target + f * point + 2 * phase, lower[f] - upper[f]);
                }
            }
        }
    }

    void correlate(ConvolutionShape s, View x, const float* weights, const float* bias, View y,
                   Moments* moments) override {
        int tiles = 0;
        for (int t = 0; t < s.side / M; t++) {
            transform_input(s, x, t, strip_.data());
            for (int h = 0; h < s.side; h += ROWS * STRIDE, tiles += STRIDE)
                for (int group = 0; group < s.groups(); group++) {
                    Products products;
                    const float* w = weights + long(group) * A * s.in * PRODUCTS * GROUP;
                    for (int f = 0; f < A; f++)
                        multiply_phases<0>(s, strip_.data() + f * s.in * channel_size(s.side) + h / STRIDE * LANES, w,
                                           products[f]);
                    for (int i = 0; i < GROUP && group * GROUP + i < s.out; i++)
#pragma GCC unroll 2
                        for (int part = 0; part < STRIDE; part++) {
                            int o = group * GROUP + i, first = h + part * ROWS;
                            Vec tile[ROWS * M];
                            interpolate(products, i, part * ROWS, bias[o], tile);
#pragma GCC unroll 16
                            for (int j = 0; j < ROWS * M; j++) store(y.at(o, first + j / M, t * M + j % M), tile[j]);
                            if (moments) merge(moments[o], tile, MergeShare(tiles + part, ROWS * M));
                        }
                }
        }
    }

    typedef float PointProducts[PHASES][GROUP][ROWS][LANES];
    struct alignas(64) Products {
        PointProducts at[A];
        PointProducts& operator[](int f) { return at[f]; }
        const PointProducts& operator[](int f) const { return at[f]; }
    };

    // All phases of one point; `weights` moves on.
    template <int PHASE>
    static NWS_INLINE void multiply_phases(ConvolutionShape s, const float* strip, const float*& weights,
                                           PointProducts& products) {
        if constexpr (PHASE < PHASES) {
            multiply<C::taps(PHASE)>(s.in, channel_size(s.side), strip + PHASE * rows(s.side) * LANES, weights,
                                     products[PHASE]);
            weights += long(s.in) * C::taps(PHASE) * GROUP;
            multiply_phases<PHASE + 1>(s, strip, weights, products);
        }
    }

    // products[GROUP][ROWS] = sum over input channels and COUNT rows of the window.
    template <int COUNT>
    static NWS_INLINE void multiply(int channels, long step, const float* strip, const float* weights,
                                    float (&products)[GROUP][ROWS][LANES]) {
#pragma GCC unroll 2
        for (int first = 0; first < ROWS; first += TOGETHER)
            multiply_rows<COUNT>(channels, step, strip + first * LANES, weights, first, products);
    }

    template <int COUNT>
    static NWS_INLINE void multiply_rows(int channels, long step, const float* strip, const float* weights, int first,
                                         float (&products)[GROUP][ROWS][LANES]) {
        Vec sums[GROUP][TOGETHER];
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < TOGETHER; j++) sums[i][j] = Vec{};
#pragma GCC unroll 1
        for (int c = 0; c < channels; c++, strip += step, weights += COUNT * GROUP) {
            Vec v[TOGETHER + COUNT - 1];
#pragma GCC unroll 16
            for (int j = 0; j < TOGETHER + COUNT - 1; j++) v[j] = load(strip + j * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
                    for (int j = 0; j < TOGETHER; j++) sums[i][j] = fma(weights[k * GROUP + i], v[j + k], sums[i][j]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 8
            for (int j = 0; j < TOGETHER; j++) store(products[i][first + j], sums[i][j]);
    }

    // tile[row * M + column] = AT products + bias, for channel i of the group and ROWS rows from `first` on.
    static NWS_INLINE void interpolate(const Products& products, int i, int first, float bias, Vec (&tile)[ROWS * M]) {
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            auto point = [&](int f) __attribute__((always_inline)) {
                return C::row(first + j, [&](int phase, int row) __attribute__((always_inline)) {
                    return load(products[f][phase][i][row]);
                });
            };
            Vec even[A / 2], odd[A / 2];
#pragma GCC unroll 16
            for (int f = 1; f < A - 1; f += 2) {
                Vec plus = point(f), minus = point(f + 1);
                even[f / 2] = plus + minus;
                odd[f / 2] = plus - minus;
            }
#pragma GCC unroll 8
            for (int m = 0; m < M; m++) {
                Vec y = all(bias);
                if (m == 0) y += point(0);
                if (m == M - 1) y += point(A - 1);
#pragma GCC unroll 16
                for (int f = 1; f < A - 1; f += 2) y = fma(float(T.at[m][f]), m % 2 ? odd[f / 2] : even[f / 2], y);
                tile[j * M + m] = y;
            }
        }
    }

    // gradient strip [A][channel][phase][row][lane] = A dy
    void transform_gradient(View dy, int t, float* strip) const {
        long channels = long(shape_.groups()) * GROUP, phase = shape_.side / STRIDE * LANES,
             point = channels * gradient_size(shape_.side);
        for (int o = 0; o < channels; o++, strip += gradient_size(shape_.side))
            for (int h = 0; h < shape_.side / STRIDE; h++) {
                // nobody reads the sums of a padded channel
                const float* pixel = dy.at(std::min(o, shape_.out - 1), h * STRIDE, t * M);
#pragma GCC unroll 3
                for (int p = 0; p < PHASES; p++)
                    evaluate_gradient(
                        [&](int i) __attribute__((always_inline)) {
                            return C::weight(p, 0, [&](int row) __attribute__((always_inline)) {
                                return load(pixel + row * dy.row + i * LANES);
                            });
                        },
                        strip + p * phase + h * LANES, point);
            }
    }

    template <class Pixel>
    static NWS_INLINE void evaluate_gradient(Pixel pixel, float* target, long point) {
        Vec v[M];
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) v[i] = pixel(i);
        store(target, v[0]);
        store(target + (A - 1) * point, v[M - 1]);
#pragma GCC unroll 16
        for (int f = 1; f < A - 1; f += 2) {
            Vec even = fma(float(T.at[2][f]), v[2], v[0]);
            Vec odd = fma(float(T.at[1][f]), v[1], float(T.at[3][f]) * v[3]);
            store(target + f * point, even + odd);
            store(target + (f + 1) * point, even - odd);
        }
    }

    void add_strips() {
        float* sums = sums_.data();
        for (int f = 0; f < A; f++)
            for (int group = 0; group < shape_.groups(); group++)
                for (int c = 0; c < shape_.in; c++, sums += PRODUCTS * GROUP * LANES)
                    add_products<0>(gradient_strips_.data() +
                                        (long(f) * shape_.groups() + group) * GROUP * gradient_size(shape_.side),
                                    input_strips_.data() + (long(f) * shape_.in + c) * channel_size(shape_.side), sums);
        gathered_ = 0;
        fresh_ = false;
    }

    // sums [phase][tap][GROUP][lane] += over strips and rows gradient(group, row) * input(row + tap)
    template <int PHASE>
    NWS_INLINE void add_products(const float* gradient, const float* input, float* sums) const {
        if constexpr (PHASE < PHASES) {
            add_taps<C::taps(PHASE)>(gradient + PHASE * (shape_.side / STRIDE) * LANES,
                                     input + PHASE * rows(shape_.side) * LANES, sums);
            add_products<PHASE + 1>(gradient, input, sums + C::taps(PHASE) * GROUP * LANES);
        }
    }

    template <int LEFT>
    NWS_INLINE void add_taps(const float* gradient, const float* input, float* sums) const {
        if constexpr (LEFT > 0) {
            constexpr int COUNT = LEFT == TAPS + 1 ? (LEFT + 1) / 2 : std::min(TAPS, LEFT);
            Vec s[COUNT][GROUP];
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++) s[k][i] = fresh_ ? Vec{} : load(sums + (k * GROUP + i) * LANES);
            long channel = gradient_size(shape_.side);
            for (int t = 0; t < gathered_; t++) {
                const float *g_row = gradient + t * gradient_strip(), *v_row = input + t * input_strip();
#pragma GCC unroll 1
                for (int h = 0; h < shape_.side / STRIDE; h++, g_row += LANES, v_row += LANES) {
                    Vec v[COUNT];
#pragma GCC unroll 8
                    for (int k = 0; k < COUNT; k++) hold(v[k] = load(v_row + k * LANES));
#pragma GCC unroll 8
                    for (int i = 0; i < GROUP; i++) {
                        Vec g = load(g_row + i * channel);
                        hold(g);
#pragma GCC unroll 8
                        for (int k = 0; k < COUNT; k++) s[k][i] = fma(g, v[k], s[k][i]);
                    }
                }
            }
#pragma GCC unroll 8
            for (int k = 0; k < COUNT; k++)
#pragma GCC unroll 8
                for (int i = 0; i < GROUP; i++) store(sums + (k * GROUP + i) * LANES, s[k][i]);
            add_taps<LEFT - COUNT>(gradient, input + COUNT * LANES, sums + COUNT * GROUP * LANES);
        }
    }

    Buffer strip_;                           // of the convolution at hand
    Buffer input_strips_, gradient_strips_;  // gathered for the weight gradient
    Buffer sums_;
    int gathered_ = 0;   // strips
    bool fresh_ = true;  // nothing has been added to sums_ since it was cleared
};

}  // namespace nws
