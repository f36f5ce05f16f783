// Two tricks that save multiplications in a convolution: Toom and Cook's along a row, Karatsuba's along the columns.
#pragma once

#include <array>

#include "vec.hpp"

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

// Along the columns, Karatsuba's trick for two rows y, y' and two taps w, w' of the window at a time:
//
//     y  = x w  + x' w'  = a + b         a = (x - x') w
//     y' = x' w + x" w'  = b - c         b = x' (w + w')       c = (x' - x") w'
//
// Three products instead of four, and three plain convolutions of half the rows (phases 0, 1, 2). The differences of
// rows are shared by all taps, the sums of phases are taken once after the last channel.
template <int K>
struct Columns {
    // Rows taken together. K = 3 and 5: no gain beyond noise, less precision.
    static constexpr int STRIDE = K >= 7 ? 2 : 1;
    static constexpr int PHASES = STRIDE == 2 ? 3 : 1;
    static constexpr int taps(int phase) { return STRIDE == 1 ? K : phase < 2 ? (K + 1) / 2 : K / 2; }
    static constexpr int first(int phase) { return phase == 0 ? 0 : first(phase - 1) + taps(phase - 1); }
    static constexpr int PRODUCTS = first(PHASES);  // per point, channel, and STRIDE rows

    // The tap of a phase from the rows of a window: w, w + w', w'. A gradient's rows go the same way.
    template <class Row>
    static NWS_INLINE auto weight(int phase, int tap, Row at) {
        if (STRIDE == 1) return at(tap);
        if (phase == 1 && 2 * tap + 1 < K) return at(2 * tap) + at(2 * tap + 1);
        return at(2 * tap + (phase == 2));
    }

    // Row `row` of the result from the sums of the phases.
    template <class Sum>
    static NWS_INLINE Vec row(int row, Sum sum) {
        if (STRIDE == 1) return sum(0, row);
        if (row % 2 == 0) return sum(0, row / 2) + sum(1, row / 2);
        return sum(1, row / 2) - sum(2, row / 2);
    }
};

}  // namespace nws
