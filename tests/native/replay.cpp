// Trains the nets of a file, without Python, and prints a checksum of each one's theta: for processors that other
// machines emulate. same_bits.py writes the file and says what lies in it.
#include <cstdio>
#include <fstream>

#include "net.hpp"

using namespace nws;

namespace {

std::ifstream file;

template <class T>
std::vector<T> read(size_t n) {
    std::vector<T> values(n);
    file.read(reinterpret_cast<char*>(values.data()), long(n * sizeof(T)));
    if (!file) std::fprintf(stderr, "the file ends early\n"), std::exit(1);
    return values;
}

// FNV-1a
uint64_t checksum(const std::vector<float>& values) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (float value : values) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    return hash;
}

}  // namespace

int main(int, char** arguments) {
    file.open(arguments[1], std::ios::binary);
    auto counts = read<int64_t>(2);  // nets, pictures
    auto pixels = read<uint8_t>(size_t(counts[1]) * PICTURE_BYTES);
    auto labels = read<int32_t>(size_t(counts[1]));
    auto ranges = read<Ranges>(1);
    for (int64_t net = 0; net < counts[0]; net++) {
        // filter, batch, batch norm, augmentation, activation, optimizer, convolutions, fully connected, weights, steps, seed
        auto n = read<int64_t>(11);
        auto of = read<float>(2);  // dropout, learning rate
        auto conv = read<int32_t>(size_t(n[6])), pools = read<int32_t>(size_t(n[6])), fc = read<int32_t>(size_t(n[7]));
        auto theta = read<float>(size_t(n[8]));
        auto batches = read<int64_t>(size_t(n[9] * n[1]));
        Net trained({int(n[0]), int(n[1]), conv, std::vector<bool>(pools.begin(), pools.end()), fc, n[2] != 0, n[3] != 0,
                     of[0], Activation(n[4]), Rule(n[5]), ranges[0], false},
                    theta, uint64_t(n[10]));
        for (int64_t step = 0; step < n[9]; step++)
            trained.step({pixels.data(), labels.data(), long(counts[1])}, batches.data() + step * n[1], of[1]);
        trained.copy_theta(theta.data());
        std::printf("%016llx\n", static_cast<unsigned long long>(checksum(theta)));
    }
}
