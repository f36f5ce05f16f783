// Mean and sum of squared deviations of a channel, gathered while a convolution writes it.
#pragma once

#include "vec.hpp"

namespace nws {

// Each lane merges tile after tile by the rule of Chan, Golub and LeVeque. E[x^2] - mean^2 would lose its digits where
// the mean is large beside the spread, as it is under constant and N(0, 1) initialization. Price: 0 (fixed net) to 4%
// (smallest) of a step, for the values are still in registers.
struct Moments {
    Vec mean, squares;  // per lane; `squares` is the sum of (x - mean)^2
};

// The weight of a tile after `tiles_before` others of the block, the same for all channels.
struct MergeShare {
    float of_mean, of_squares;
    MergeShare(int tiles_before, int tile_size)
        : of_mean(1.0f / float(tiles_before + 1)),
          of_squares(float(tile_size) * float(tiles_before) / float(tiles_before + 1)) {}
};

// The sums as four interleaved ones: one chain of additions would wait for itself, 60 cycles per tile.
template <int COUNT>
NWS_INLINE Vec sum_of(const Vec (&values)[COUNT]) {
    Vec part[4] = {values[0], values[1], values[2], values[3]};
#pragma GCC unroll 16
    for (int i = 4; i < COUNT; i++) part[i % 4] += values[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

template <int COUNT>
NWS_INLINE Vec sum_of_squares(const Vec (&values)[COUNT], Vec mean) {
    Vec part[4];
#pragma GCC unroll 16
    for (int i = 0; i < COUNT; i++) {
        Vec away = values[i] - mean;
        if (i < 4 && COUNT > 4) {
            Vec next = values[i + 4] - mean;
            part[i] = fma(away, away, next * next);
        } else if (i < 4) {
            part[i] = away * away;
        } else if (i >= 8) {
            part[i % 4] = fma(away, away, part[i % 4]);
        }
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
}

template <int COUNT>
NWS_INLINE void merge(Moments& moments, const Vec (&values)[COUNT], MergeShare share) {
    Vec mean = sum_of(values) * (1.0f / COUNT), away = mean - moments.mean;
    moments.mean = fma(away, share.of_mean, moments.mean);
    moments.squares += fma(away * away, share.of_squares, sum_of_squares(values, mean));
}

struct MeanVariance {
    double mean, variance;  // biased: by n
};

// Of a channel over the whole batch: block after block, in double. Every merge rounds the mean, so a chain of merges in
// float must not grow longer than a block.
class BatchMoments {
public:
    // The parts of 16 lanes, `step` apart; `count` values in every lane.
    void add(const Moments* parts, long step, double count) {
        double mean = 0, squares = 0;
        for (int p = 0; p < PARTS; p++)
            for (int lane = 0; lane < LANES; lane++) mean += parts[p * step].mean[lane] / SUMMED;
        for (int p = 0; p < PARTS; p++)
            for (int lane = 0; lane < LANES; lane++) {
                double away = parts[p * step].mean[lane] - mean;
                squares += fma(away * away, count, double(parts[p * step].squares[lane]));
            }
        double n = count * SUMMED, away = mean - mean_, share = n / (n_ + n);
        mean_ = fma(away, share, mean_);
        squares_ += fma(away * away * share, n_, squares);
        n_ += n;
    }
    MeanVariance result() const { return {mean_, squares_ / n_}; }
    double count() const { return n_; }

private:
    double mean_ = 0, squares_ = 0, n_ = 0;
};

}  // namespace nws
