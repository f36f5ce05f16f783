// Random numbers: xoshiro128++ (Blackman, Vigna), one stream per place in the batch. What an image gets does not depend on how many
// lanes the machine has.
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

    // Two independent standard normal numbers (Box and Muller).
    NWS_INLINE void normal(Vec& a, Vec& b) {
        Vec radius = square_root(-2.0f * log(uniform() + 0x1p-25f));
        Vec turn = uniform() - 0.5f, size = magnitude(turn);
        Vec folded = select(size > 0.25f, 0.5f - size, size);
        Vec sine = sine_of_quarter(folded);
        a = radius * sine_of_quarter(0.25f - size);
        b = radius * select(turn < 0.0f, -sine, sine);
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
                    std::memcpy(&state_[((image / LANES) * 4 + half * 2 + i) * LANES + image % LANES], &words[i], sizeof(uint32_t));
            }
        }
    }

    Stream open(int block) {
        Stream stream;
        std::memcpy(stream.s, state_.data() + block * 4 * LANES, sizeof stream.s);
        return stream;
    }
    void close(int block, const Stream& stream) { std::memcpy(state_.data() + block * 4 * LANES, stream.s, sizeof stream.s); }

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
