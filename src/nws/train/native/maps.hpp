// Where activations lie in memory.
//
// A batch is cut into blocks of LANES images. Within a block the image is the INNERMOST index, so one register holds
// one pixel of one channel of LANES images:
//
//   block 0                                                    block 1 ...
//   +-- channel 0 ------------------------------+-- channel 1 --
//   | row -p | row -p+1 | ... | row H-1+p       |
//   |  ^ border of p zeros around each map,     |
//   |    which is what "same" convolutions read |
//   +-------------------------------------------+
//            one row:  [pixel -p][pixel -p+1] ... [pixel W-1+p]
//          one pixel:  [image 0, image 1, ..., image LANES-1]     <- one Vec
//
// Why: the nets have 3, 4, 8, 12 channels and maps of 32 to 4 pixels; no other index fills a register of 8 or 16. Here
// every instruction does full work for any shape, a weight is a scalar broadcast to all lanes, neighbouring pixels are
// aligned loads, and no im2col exists. The price: a batch must be a multiple of LANES.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "vec.hpp"

namespace nws {

// Floats on a 64-byte boundary, zero at first. Made once per net, never inside a step.
class Buffer {
public:
    explicit Buffer(size_t size = 0) : size_(size) {
        size_t bytes = (size * sizeof(float) + 63) / 64 * 64 + 64;
        data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
        if (!data_) throw std::bad_alloc();
        std::memset(data_.get(), 0, bytes);
    }
    float* data() { return data_.get(); }
    const float* data() const { return data_.get(); }
    size_t size() const { return size_; }
    float& operator[](size_t i) { return data_.get()[i]; }
    void clear() { std::memset(data_.get(), 0, size_ * sizeof(float)); }

private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    size_t size_;
    std::unique_ptr<float[], Free> data_;
};

// The maps of one block: `origin` is pixel (0, 0) of channel 0; the steps count floats.
struct View {
    float* origin;
    long channel, row, column;

    NWS_INLINE float* at(int c, int h, int w) const { return origin + c * channel + h * row + w * column; }
};

// The maps of a whole batch, [block][channel][row][column][lane], with a border of zeros.
class Maps {
public:
    Maps() : Maps(0, 0, 0, 0) {}
    Maps(int blocks, int channels, int side, int border)
        : side_(side + 2 * border),
          channels_(channels),
          border_(border),
          buffer_(size_t(blocks) * channels * side_ * side_ * LANES) {}

    View block(int b) {
        long row = long(side_) * LANES, channel = side_ * row;
        return {buffer_.data() + b * channels_ * channel + border_ * (row + LANES), channel, row, LANES};
    }

private:
    int side_, channels_, border_;
    Buffer buffer_;
};

// The inputs of a fully connected layer, [block][unit][lane].
class Units {
public:
    Units() : Units(0, 0) {}
    Units(int blocks, int units) : units_(units), buffer_(size_t(blocks) * units * LANES) {}

    float* block(int b) { return buffer_.data() + size_t(b) * units_ * LANES; }
    float* unit(int b, int u) { return block(b) + u * LANES; }
    int count() const { return units_; }

    // The same memory as maps: units run row, column, channel (fastest), theta's order (see layout.py). Writing the
    // last pooled maps through this view is the flattening.
    View as_maps(int b, int channels, int side) {
        return {block(b), LANES, long(side) * channels * LANES, long(channels) * LANES};
    }

private:
    int units_;
    Buffer buffer_;
};

}  // namespace nws
