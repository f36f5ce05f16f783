// Trains nets of a few architectures for a few steps, without Python: for sanitizers, other compilers and emulators. A
// line for each: filter, batch, the losses, and how many of 37 pictures it classifies correctly. native_program.py
// compiles and runs it.
#include <cstdio>

#include "net.hpp"

using namespace nws;

namespace {

size_t weights(const Architecture& a) {
    size_t total = 0;
    int in = CHANNELS, side = SIDE;
    for (size_t i = 0; i < a.conv_widths.size(); i++) {
        int out = a.conv_widths[i];
        total += size_t(out) * (in * a.filter * a.filter + (a.batch_norm ? 5 : 1));
        in = out, side /= a.pools[i] ? 2 : 1;
    }
    in *= side * side;
    for (size_t i = 0; i < a.fc_widths.size(); i++) {
        int out = a.fc_widths[i];
        total += size_t(out) * (in + (a.batch_norm && i + 1 < a.fc_widths.size() ? 5 : 1));
        in = out;
    }
    return total;
}

void train(const Architecture& a) {
    constexpr int PICTURES = 64;
    std::vector<uint8_t> pixels(PICTURES * PICTURE_BYTES);
    std::vector<int> labels(PICTURES);
    uint32_t state = 1;
    auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
    for (auto& p : pixels) p = uint8_t(next());
    for (auto& y : labels) y = int(next() % 10);
    std::vector<float> theta(weights(a));
    for (auto& w : theta) w = float(next() % 2001) / 10000.0f;  // positive: a variance must be
    Net net(a, theta, 5);
    std::vector<int64_t> index(std::max(a.batch, 37));
    std::printf("%d %d", a.filter, a.batch);
    for (int step = 0; step < 3; step++) {
        for (auto& i : index) i = next() % PICTURES;
        float loss = net.step({pixels.data(), labels.data(), PICTURES}, index.data(), 1e-3f);
        std::printf(" %.6f", loss);
    }
    index[0] = PICTURES - 1;  // the last picture: no load may leave the array
    long hits = net.correct({pixels.data(), labels.data(), PICTURES}, index.data(), 37);
    std::printf(" %ld\n", hits);
}

}  // namespace

int main() {
    Ranges ranges{{-3, -3, -15, 0.9f, -3, -3, -0.2f, 0.5f, -0.08f, 0.3f, 0},
                  {3, 3, 15, 1.1f, 3, 3, 0.2f, 1.5f, 0.08f, 1.5f, 0.03f}};
    for (int filter : {1, 3, 5, 7, 9})
        for (bool augmentation : {false, true})
            train({filter,
                   augmentation ? 48 : 16,
                   {5, 8, 16},
                   {true, true, true},
                   {13, 6, 20},
                   !augmentation || filter != 3,
                   augmentation,
                   0.5f,
                   Activation(filter % 4),
                   Rule(filter % 3),
                   ranges,
                   false});
    train({3,
           32,
           {4, 4, 8, 8, 16},
           {false, true, false, true, true},
           {64, 32, 20},
           true,
           true,
           0.5f,
           Activation::relu,
           Rule::adam,
           ranges,
           true});
}
