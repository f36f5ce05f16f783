// Softmax and cross-entropy.
#pragma once

#include "functions.hpp"
#include "maps.hpp"

namespace nws {

// The losses of one block are added to `loss`; `dz` gets the gradient of loss * weight.
inline void cross_entropy(Units& z, const int* labels, int block, float weight, Units& dz, double& loss) {
    int units = z.count();
    Vec highest = load(z.unit(block, 0));
    for (int u = 1; u < units; u++) highest = larger(highest, load(z.unit(block, u)));
    Vec total{};
    for (int u = 0; u < units; u++) {
        Vec e = exp(load(z.unit(block, u)) - highest);
        store(dz.unit(block, u), e);
        total += e;
    }
    Vec share = weight / total;
    for (int u = 0; u < units; u++) store(dz.unit(block, u), load(dz.unit(block, u)) * share);
    Vec logarithm = log(total) + highest;
    for (int lane = 0; lane < LANES; lane++) {
        loss += double(logarithm[lane]) - z.unit(block, labels[lane])[lane];
        dz.unit(block, labels[lane])[lane] -= weight;
    }
}

// Which unit is highest for one image; the first of equals.
inline int highest_unit(Units& z, int block, int lane) {
    int best = 0;
    for (int u = 1; u < z.count(); u++)
        if (z.unit(block, u)[lane] > z.unit(block, best)[lane]) best = u;
    return best;
}

}  // namespace nws
