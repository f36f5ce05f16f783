// Random numbers: xoshiro128++ (Blackman, Vigna), one stream per place in the batch. What an image gets does not depend
// on how many lanes the machine has.
#pragma once

#include <vector>

#include "functions.hpp"
#include "maps.hpp"

namespace nws {

struct Stream {
    BitVec s[4];

    NWS_INLINE BitVec next() {
        auto turn = [](BitVec x, int k) __attribute__((always_inline)) { return (x << k) | (x >> (32 - k)); };
        BitVec result = turn(s[0] + s[3], 7) + s[0], t = s[1] << 9;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = turn(s[3], 11);
        return result;
    }

    // Uniform in [0, 1), a multiple of 2^-24.
    NWS_INLINE Vec uniform() { return to_float(reinterpret_cast<IntVec>(next() >> 8)) * 0x1p-24f; }

    // Two independent standard normal numbers (Box and Muller) from one word: 16 bits of radius, so none exceeds 4.8,
    // 16 of angle. Enough for noise on pixels of 8 bits, and a third cheaper than from two words.
    NWS_INLINE void normal(Vec& a, Vec& b) {
        BitVec bits = next();
        Vec share = to_float(reinterpret_cast<IntVec>(bits >> 16)) * 0x1p-16f + 0x1p-17f;
        Vec turn = to_float(reinterpret_cast<IntVec>(bits << 16)) * 0x1p-32f, size = magnitude(turn);  // in [-1/2, 1/2)
        Vec radius =
            square_root(larger(-2.0f * rough_log(share), Vec{}));  // rough: near 1 it may err to the other side of 0
        a = radius * sine_of_quarter(0.25f - size);
        // sin(2 pi turn): beyond a quarter turn the sine comes back as it went
        Vec folded = 0.25f - magnitude(0.25f - size);
        b = radius * reinterpret_cast<Vec>(reinterpret_cast<BitVec>(sine_of_quarter(folded)) |
                                           (reinterpret_cast<BitVec>(turn) & 0x80000000u));
    }
};

class Random {
public:
    Random(uint64_t seed, int blocks) : state_(size_t(blocks) * 4 * LANES) {
        for (int image = 0; image < blocks * LANES; image++) {
            uint64_t x = seed + uint64_t(image) * 0xd1342543de82ef95u;
            for (int half = 0; half < 2; half++) {
                uint64_t bits = split_mix(x);
                uint32_t words[2] = {uint32_t(bits), uint32_t(bits >> 32)};
                for (int i = 0; i < 2; i++)
                    std::memcpy(&state_[((image / LANES) * 4 + half * 2 + i) * LANES + image % LANES], &words[i],
                                sizeof(uint32_t));
            }
        }
    }

    Stream open(int block) {
        Stream stream;
        std::memcpy(stream.s, state_.data() + block * 4 * LANES, sizeof stream.s);
        return stream;
    }
    void close(int block, const Stream& stream) {
        std::memcpy(state_.data() + block * 4 * LANES, stream.s, sizeof stream.s);
    }

private:
    static uint64_t split_mix(uint64_t& x) {
        uint64_t z = (x += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    Buffer state_;  // [block][word][lane], read as bits
};

}  // namespace nws
