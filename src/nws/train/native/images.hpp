// Pictures as they are kept, uint8 (N, 32, 32, 3), on their way into the lanes. The array is the caller's: nothing is
// copied.
#pragma once

#include <cstdint>
#include <cstring>

#include "maps.hpp"

namespace nws {

constexpr int SIDE = 32, CHANNELS = 3, PICTURE_BYTES = SIDE * SIDE * CHANNELS;

struct Pictures {
    const uint8_t* pixels;
    const int* labels;
    long count;

    const uint8_t* at(long i) const { return pixels + i * PICTURE_BYTES; }
};

// The three colours of one pixel of LANES pictures from words of red, green, blue (lowest byte first). A colour stays
// where its byte is, which saves a shift, and counts UNIT: green is 256 times too large, blue 65,536
// times, exactly.
constexpr float UNIT[CHANNELS] = {1.0f / 255.0f, 1.0f / 255.0f / 256.0f, 1.0f / 255.0f / 65536.0f};
NWS_INLINE void unpack(IntVec words, Vec (&colour)[CHANNELS]) {
#pragma GCC unroll 3
    for (int c = 0; c < CHANNELS; c++) colour[c] = to_float(words & (255 << (8 * c)));
}

// Pictures of one block -> x in [0, 1]. One 4-byte load per pixel and picture; the last pixel is read a byte early, so
// that no load leaves the picture.
inline void load_clean(const Pictures& pictures, const int64_t* index, View x) {
    const uint8_t* picture[LANES];
    for (int lane = 0; lane < LANES; lane++) picture[lane] = pictures.at(index[lane]);
    for (int h = 0; h < SIDE; h++)
        for (int w = 0; w < SIDE; w++) {
            int pixel = h * SIDE + w, early = pixel == SIDE * SIDE - 1;
            alignas(64) int32_t words[LANES];
            for (int lane = 0; lane < LANES; lane++)
                std::memcpy(&words[lane], picture[lane] + CHANNELS * pixel - early, 4);
            Vec colour[CHANNELS];
            unpack(*reinterpret_cast<IntVec*>(words) >> (8 * early), colour);
            for (int c = 0; c < CHANNELS; c++) store(x.at(c, h, w), colour[c] * UNIT[c]);
        }
}

}  // namespace nws
