// Random changes of the training images, the rule of augment.py for LANES images at once: geometry, colours, noise,
// clip.
//
// The pictures of a block are first laid out as words of 4 bytes inside a frame of zeros: "0 outside" then needs no
// test, and one fetch brings three colours. Measured on one Zen 4 core: 5 us per image, 7% of a training step of the
// fixed net; half of it fetches and blends, half is colours and noise.
#pragma once

#include <vector>

#include "images.hpp"
#include "random.hpp"

namespace nws {

// Per image, the columns of augment.RANGES. Translation in pixels, angles in degrees, hue in turns.
struct Changes {
    float shift_x, shift_y, rotation, zoom, shear_x, shear_y, brightness, contrast, hue, saturation, noise;
};
constexpr int CHANGES = 11;
static_assert(sizeof(Changes) == CHANGES * sizeof(float));

// low, high of each, from augment.RANGES.
struct Ranges {
    float low[CHANGES], high[CHANGES];
};

inline void draw_changes(const Ranges& ranges, Stream& stream, Changes (&changes)[LANES]) {
    for (int k = 0; k < CHANGES; k++) {
        Vec value = fma(stream.uniform(), ranges.high[k] - ranges.low[k], ranges.low[k]);
        for (int lane = 0; lane < LANES; lane++) reinterpret_cast<float*>(&changes[lane])[k] = value[lane];
    }
}

// The same as vectors over lanes, and the geometry as the matrix (a b; c d) of augment.warp.
struct LaneChanges {
    Vec shift_x, shift_y, a, b, c, d, brightness, contrast, hue, saturation, noise;

    explicit LaneChanges(const Changes (&changes)[LANES]) {
        for (int lane = 0; lane < LANES; lane++) {
            const Changes& of = changes[lane];
            constexpr float RADIANS = 3.14159265f / 180.0f;
            float x = of.shear_x * RADIANS, y = of.shear_y * RADIANS;
            float turned_x = fma(-of.rotation, RADIANS, x), turned_y = fma(of.rotation, RADIANS, y);
            Direction to_x = direction(turned_x), to_y = direction(turned_y);
            float flat_x = direction(x).cosine, flat_y = direction(y).cosine;
            a[lane] = of.zoom * to_x.cosine / flat_x;
            b[lane] = of.zoom * to_x.sine / flat_x;
            c[lane] = of.zoom * to_y.sine / flat_y;
            d[lane] = of.zoom * to_y.cosine / flat_y;
            shift_x[lane] = of.shift_x, shift_y[lane] = of.shift_y;
            brightness[lane] = of.brightness, contrast[lane] = of.contrast;
            hue[lane] = of.hue, saturation[lane] = of.saturation, noise[lane] = of.noise;
        }
    }
};

// LANES pictures as words, each in a frame: pixel (-1, -1) to (33, 33).
class FramedPictures {
public:
    FramedPictures() : words_(size_t(LANES) * WORDS) {}

    // Four pixels at a time. The last four are read 4 bytes early, so that no load leaves the picture.
    void load(const Pictures& pictures, const int64_t* index) {
        typedef uint8_t Bytes __attribute__((vector_size(16), may_alias));
        for (int lane = 0; lane < LANES; lane++) {
            const uint8_t* from = pictures.at(index[lane]);
            uint32_t* to = words_.data() + lane * WORDS + PITCH + 1;
            for (int h = 0; h < SIDE; h++, to += PITCH)
                for (int w = 0; w < SIDE; w += 4, from += 4 * CHANNELS) {
                    bool last = h == SIDE - 1 && w == SIDE - 4;
                    Bytes bytes, words;
                    std::memcpy(&bytes, from - 4 * last, sizeof bytes);
                    if (last)
                        bytes =
                            __builtin_shufflevector(bytes, bytes, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0);
                    words =
                        __builtin_shufflevector(bytes, Bytes{}, 0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11, 16);
                    std::memcpy(to + w, &words, sizeof words);
                }
        }
    }

    // Bilinear, 0 outside: the colours at (x, y), times 1 / UNIT (images.hpp), of every lane's own picture.
    NWS_INLINE void sample(Vec x, Vec y, Vec (&colour)[CHANNELS]) const {
        x = clamp(x, -1.0f, float(SIDE)) + 1.0f;  // beyond the frame's edge all is 0
        y = clamp(y, -1.0f, float(SIDE)) + 1.0f;
        IntVec column = to_int(x), row = to_int(y);  // not negative: towards zero is down
        Vec right = x - to_float(column), down = y - to_float(row);
        IntVec place = row * PITCH + column;
        alignas(64) int32_t places[LANES];
        *reinterpret_cast<IntVec*>(places) = place;
        IntVec corner[4];
        fetch_row(places, 0, corner[0], corner[1]);
        fetch_row(places, PITCH, corner[2], corner[3]);
        Vec c[4][CHANNELS];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) unpack(corner[i], c[i]);
#pragma GCC unroll 3
        for (int k = 0; k < CHANNELS; k++) {
            Vec above = fma(right, c[1][k] - c[0][k], c[0][k]), below = fma(right, c[3][k] - c[2][k], c[2][k]);
            colour[k] = fma(down, below - above, above);
        }
    }

private:
    // The words at every lane's place and right of it: two by one load of 8 bytes, put in order in registers. By way of
    // memory, word by word, sampling took a third longer.
    NWS_INLINE void fetch_row(const int32_t* places, int below, IntVec& left, IntVec& right) const {
        typedef int64_t TwoPairs __attribute__((vector_size(16)));
        typedef int32_t Words __attribute__((vector_size(16)));
        Words lefts[LANES / 4], rights[LANES / 4];
#pragma GCC unroll 4
        for (int part = 0; part < LANES / 4; part++) {
            int64_t pair[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                int lane = 4 * part + i;
                std::memcpy(&pair[i], words_.data() + lane * WORDS + places[lane] + below, sizeof pair[i]);
            }
            auto two = reinterpret_cast<Words>(TwoPairs{pair[0], pair[1]}),
                 more = reinterpret_cast<Words>(TwoPairs{pair[2], pair[3]});
            lefts[part] = __builtin_shufflevector(two, more, 0, 2, 4, 6);
            rights[part] = __builtin_shufflevector(two, more, 1, 3, 5, 7);
        }
        left = reinterpret_cast<IntVec>(joined<LANES / 4>(lefts));
        right = reinterpret_cast<IntVec>(joined<LANES / 4>(rights));
    }

    static constexpr int PITCH = SIDE + 4, WORDS = (SIDE + 3) * PITCH;
    std::vector<uint32_t> words_;
};

// Hue + `hue` turns, saturation x `saturation`, value kept: augment.turn_colours, which explains the formula.
NWS_INLINE void turn_colours(Vec (&colour)[CHANNELS], Vec hue, Vec saturation) {
    Vec red = colour[0], green = colour[1], blue = colour[2];
    Vec value = larger(larger(red, green), blue);
    Vec chroma = value - smaller(smaller(red, green), blue);
    Vec sixth = 1.0f / larger(6.0f * chroma, all(1e-12f));
    Vec turn = select(value == green, fma(blue - red, sixth, 1.0f / 3.0f), fma(red - green, sixth, 2.0f / 3.0f));
    turn = select(value == red, (green - blue) * sixth, turn) + hue;
    chroma = smaller(chroma * saturation, positive_part(value));
    constexpr float OFFSET[CHANNELS] = {0.0f, 2.0f / 3.0f, 1.0f / 3.0f};
#pragma GCC unroll 3
    for (int k = 0; k < CHANNELS; k++) {
        Vec seen = turn + (OFFSET[k] + 1.0f);  // positive: towards zero is down
        Vec away = magnitude(seen - to_float(to_int(seen)) - 0.5f);
        colour[k] = fma(-chroma, clamp_to_unit(fma(away, -6.0f, 2.0f)), value);
    }
}

// Geometry and brightness -> x, then about the channel means contrast, colours, noise, clip. `noise(h, w, k)` gives
// standard normal numbers; w runs in pairs.
template <class Noise>
void augment(const FramedPictures& pictures, const LaneChanges& by, View x, Noise noise) {
    constexpr float CENTRE = (SIDE - 1) / 2.0f;
    Vec mean[CHANNELS]{};
    for (int h = 0; h < SIDE; h++)
        for (int w = 0; w < SIDE; w++) {
            Vec to_right = float(w) - CENTRE + by.shift_x, to_bottom = float(h) - CENTRE + by.shift_y, colour[CHANNELS];
            pictures.sample(fma(by.a, to_right, by.b * to_bottom) + CENTRE,
                            fma(by.c, to_right, by.d * to_bottom) + CENTRE, colour);
#pragma GCC unroll 3
            for (int k = 0; k < CHANNELS; k++) {
                Vec value = fma(colour[k], UNIT[k], by.brightness);
                store(x.at(k, h, w), value);
                mean[k] += value;
            }
        }
    for (int k = 0; k < CHANNELS; k++) mean[k] = mean[k] * (1.0f / (SIDE * SIDE));
    for (int h = 0; h < SIDE; h++)
        for (int w = 0; w < SIDE; w += 2) {
            Vec normal[2][CHANNELS];
            noise(h, w, normal);
            for (int i = 0; i < 2; i++) {
                Vec colour[CHANNELS];
#pragma GCC unroll 3
                for (int k = 0; k < CHANNELS; k++)
                    colour[k] = fma(load(x.at(k, h, w + i)) - mean[k], by.contrast, mean[k]);
                turn_colours(colour, by.hue, by.saturation);
#pragma GCC unroll 3
                for (int k = 0; k < CHANNELS; k++)
                    store(x.at(k, h, w + i), clamp_to_unit(fma(normal[i][k], by.noise, colour[k])));
            }
        }
}

// Noise drawn from a stream: three pairs for every two pixels.
struct DrawnNoise {
    Stream& stream;
    NWS_INLINE void operator()(int, int, Vec (&normal)[2][CHANNELS]) const {
#pragma GCC unroll 3
        for (int k = 0; k < CHANNELS; k++) stream.normal(normal[0][k], normal[1][k]);
    }
};

}  // namespace nws
