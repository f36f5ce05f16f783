#include "convolution.hpp"

#include "direct.hpp"
#include "winograd.hpp"

namespace nws {

std::unique_ptr<Convolution> make_convolution(ConvolutionShape shape, bool direct) {
    if (!direct && shape.filter == 3) return std::make_unique<WinogradConvolution<3>>(shape);
    if (!direct && shape.filter == 5) return std::make_unique<WinogradConvolution<5>>(shape);
    if (!direct && shape.filter == 7) return std::make_unique<WinogradConvolution<7>>(shape);
    return std::make_unique<DirectConvolution>(shape);
}

}  // namespace nws
