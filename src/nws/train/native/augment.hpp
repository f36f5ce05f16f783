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
        Vec value = stream.uniform() * (ranges.high[k] - ranges.low[k]) + ranges.low[k];
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
            float rotation = of.rotation * RADIANS, x = of.shear_x * RADIANS, y = of.shear_y * RADIANS;
            a[lane] = of.zoom * std::cos(x - rotation) / std::cos(x);
            b[lane] = of.zoom * std::sin(x - rotation) / std::cos(x);
            c[lane] = of.zoom * std::sin(y + rotation) / std::cos(y);
            d[lane] = of.zoom * std::cos(y + rotation) / std::cos(y);
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

    // The fourth byte of a word is the next pixel's; nobody looks at it. The last pixel is read a byte early.
    void load(const Pictures& pictures, const int64_t* index) {
        for (int lane = 0; lane < LANES; lane++) {
            const uint8_t* from = pictures.at(index[lane]);
            uint32_t* to = words_.data() + lane * WORDS + PITCH + 1;
            for (int h = 0; h < SIDE; h++, from += SIDE * CHANNELS, to += PITCH) {
                bool last = h == SIDE - 1;
                for (int w = 0; w < SIDE - last; w++) std::memcpy(to + w, from + CHANNELS * w, 4);
                if (last) {
                    std::memcpy(to + SIDE - 1, from + CHANNELS * (SIDE - 1) - 1, 4);
                    to[SIDE - 1] >>= 8;
                }
            }
        }
    }

    // Bilinear, 0 outside: the colours at (x, y), in [0, 1], of every lane's own picture.
    NWS_INLINE void sample(Vec x, Vec y, Vec (&colour)[CHANNELS]) const {
        x = clamp(x, -1.0f, float(SIDE)) + 1.0f;  // beyond the frame's edge all is 0
        y = clamp(y, -1.0f, float(SIDE)) + 1.0f;
        IntVec column = to_int(x), row = to_int(y);  // not negative: towards zero is down
        Vec right = x - to_float(column), down = y - to_float(row);
        IntVec place = row * PITCH + column;
        alignas(64) int32_t corner[4][LANES];
        for (int lane = 0; lane < LANES; lane++) {
            const uint32_t* word = words_.data() + lane * WORDS + place[lane];
            corner[0][lane] = int32_t(word[0]), corner[1][lane] = int32_t(word[1]);
            corner[2][lane] = int32_t(word[PITCH]), corner[3][lane] = int32_t(word[PITCH + 1]);
        }
        Vec c[4][CHANNELS];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) unpack(*reinterpret_cast<IntVec*>(corner[i]), c[i]);
#pragma GCC unroll 3
        for (int k = 0; k < CHANNELS; k++) {
            Vec above = c[0][k] + right * (c[1][k] - c[0][k]), below = c[2][k] + right * (c[3][k] - c[2][k]);
            colour[k] = (above + down * (below - above)) * (1.0f / 255.0f);
        }
    }

private:
    static constexpr int PITCH = SIDE + 4, WORDS = (SIDE + 3) * PITCH;
    std::vector<uint32_t> words_;
};

// Hue + `hue` turns, saturation x `saturation`, value kept: augment.turn_colours, which explains the formula.
NWS_INLINE void turn_colours(Vec (&colour)[CHANNELS], Vec hue, Vec saturation) {
    Vec red = colour[0], green = colour[1], blue = colour[2];
    Vec value = larger(larger(red, green), blue);
    Vec chroma = value - smaller(smaller(red, green), blue);
    Vec sixth = 1.0f / larger(6.0f * chroma, all(1e-12f));
    Vec turn = select(value == green, (blue - red) * sixth + 1.0f / 3.0f, (red - green) * sixth + 2.0f / 3.0f);
    turn = select(value == red, (green - blue) * sixth, turn) + hue;
    chroma = smaller(chroma * saturation, positive_part(value));
    constexpr float OFFSET[CHANNELS] = {0.0f, 2.0f / 3.0f, 1.0f / 3.0f};
#pragma GCC unroll 3
    for (int k = 0; k < CHANNELS; k++) {
        Vec seen = turn + (OFFSET[k] + 1.0f);  // positive: towards zero is down
        Vec away = magnitude(seen - to_float(to_int(seen)) - 0.5f);
        colour[k] = value - chroma * clamp_to_unit(2.0f - 6.0f * away);
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
            pictures.sample(by.a * to_right + by.b * to_bottom + CENTRE, by.c * to_right + by.d * to_bottom + CENTRE,
                            colour);
#pragma GCC unroll 3
            for (int k = 0; k < CHANNELS; k++) {
                Vec value = colour[k] + by.brightness;
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
                    colour[k] = (load(x.at(k, h, w + i)) - mean[k]) * by.contrast + mean[k];
                turn_colours(colour, by.hue, by.saturation);
#pragma GCC unroll 3
                for (int k = 0; k < CHANNELS; k++)
                    store(x.at(k, h, w + i), clamp_to_unit(colour[k] + normal[i][k] * by.noise));
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
