// exp, expm1, log, sine and square root of LANES numbers at once, to about one unit in the last place; sine, cosine and
// powers of single numbers. Our own, because the last bit of the C library's differs from one library to the next.
#pragma once

#include <cmath>

#include "vec.hpp"

namespace nws {

// e^x = scale (1 + rest): scale a power of two, rest computed without cancellation. Cephes' polynomial.
struct Exponential {
    Vec scale, rest;
};

NWS_INLINE Exponential exponential(Vec x) {
    x = clamp(x, -87.0f, 88.0f);
    Vec n = floor(fma(x, 1.44269504f, 0.5f));
    Vec r = fma(n, -0.693359375f, x);  // log 2 in two parts, the first exact in few bits
    r = fma(n, 2.12194440e-4f, r);
    Vec p = fma(r, 1.9875691500e-4f, 1.3981999507e-3f);
    p = fma(p, r, 8.3334519073e-3f);
    p = fma(p, r, 4.1665795894e-2f);
    p = fma(p, r, 1.6666665459e-1f);
    p = fma(p, r, 5.0000001201e-1f);
    return {reinterpret_cast<Vec>((to_int(n) + 127) << 23), fma(p * r, r, r)};
}

NWS_INLINE Vec exp(Vec x) {
    Exponential e = exponential(x);
    return fma(e.scale, e.rest, e.scale);
}

// e^x - 1 with all its digits near 0: batch norm behind an activation may blow a tiny value up.
NWS_INLINE Vec expm1(Vec x) {
    Exponential e = exponential(x);
    return fma(e.scale, e.rest, e.scale - 1.0f);
}

// Natural logarithm of x > 0. Cephes' polynomial on the mantissa.
NWS_INLINE Vec log(Vec x) {
    IntVec bits = reinterpret_cast<IntVec>(x);
    Vec exponent = to_float((bits >> 23) - 126);
    Vec m = reinterpret_cast<Vec>((bits & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
    IntVec low = m < 0.707106781f;
    exponent = low ? exponent - 1.0f : exponent;
    m = low ? m + m - 1.0f : m - 1.0f;
    Vec p = fma(m, 7.0376836292e-2f, -1.1514610310e-1f);
    p = fma(p, m, 1.1676998740e-1f);
    p = fma(p, m, -1.2420140846e-1f);
    p = fma(p, m, 1.4249322787e-1f);
    p = fma(p, m, -1.6668057665e-1f);
    p = fma(p, m, 2.0000714765e-1f);
    p = fma(p, m, -2.4999993993e-1f);
    p = fma(p, m, 3.3333331174e-1f);
    Vec square = m * m;
    return fma(exponent, 0.693147181f, fma(p * m, square, -0.5f * square) + m);
}

// log(x) within 1e-5 for x > 0, for noise: half the terms of `log`.
NWS_INLINE Vec rough_log(Vec x) {
    IntVec bits = reinterpret_cast<IntVec>(x);
    Vec exponent = to_float((bits >> 23) - 127);
    Vec m = reinterpret_cast<Vec>((bits & 0x007fffff) | 0x3f800000);  // in [1, 2)
    Vec p = fma(m, 3.044900454e-02f, -2.838268478e-01f);
    p = fma(p, m, 1.116090027e+00f);
    p = fma(p, m, -2.440029763e+00f);
    p = fma(p, m, 3.514087297e+00f);
    p = fma(p, m, -1.936759743e+00f);
    return fma(exponent, 0.693147181f, p);
}

// sin(2 pi turn) for |turn| <= 1/4, an odd polynomial of degree 7: within 5e-6 of the turn, for noise.
NWS_INLINE Vec sine_of_quarter(Vec turn) {
    Vec square = turn * turn;
    Vec p = fma(square, -7.161119430e+01f, 8.140833659e+01f);
    p = fma(p, square, -4.133925387e+01f);
    p = fma(p, square, 6.283180540e+00f);
    return p * turn;
}

NWS_INLINE Vec square_root(Vec x) {
    Vec root;
    for (int lane = 0; lane < LANES; lane++) root[lane] = std::sqrt(x[lane]);  // compiles to one instruction
    return root;
}

struct Direction {
    float cosine, sine;
};

// Of an angle in radians, |angle| < 10^5: rounded from double, whose error is far below a float's last bit.
inline Direction direction(float angle) {
    constexpr double QUARTER = 1.5707963267948966, BEYOND_DOUBLE = 6.123233995736766e-17;  // pi / 2, and the rest of it
    double quarters = std::floor(fma(double(angle), 0.6366197723675814, 0.5));
    double x = fma(-quarters, BEYOND_DOUBLE, fma(-quarters, QUARTER, double(angle))), square = x * x;
    double s = -1.0 / 39916800, c = -1.0 / 3628800;  // Taylor's series, |x| <= pi / 4
    for (double factor : {1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6}) s = fma(s, square, factor);
    for (double factor : {1.0 / 40320, -1.0 / 720, 1.0 / 24, -1.0 / 2}) c = fma(c, square, factor);
    s = fma(s * square, x, x), c = fma(c, square, 1.0);
    switch (long(quarters) & 3) {
        case 0: return {float(c), float(s)};
        case 1: return {float(-s), float(c)};
        case 2: return {float(-c), float(-s)};
        default: return {float(s), float(-c)};
    }
}

// base^1, base^2 ... with twice the digits of a double, so that the value is right to its last bit.
class Powers {
public:
    explicit Powers(double base) : base_(base) {}
    double next() {
        double product = value_ * base_;
        rest_ = fma(rest_, base_, fma(value_, base_, -product));
        value_ = product + rest_;
        rest_ -= value_ - product;
        return value_;
    }

private:
    double base_, value_ = 1, rest_ = 0;
};

}  // namespace nws
