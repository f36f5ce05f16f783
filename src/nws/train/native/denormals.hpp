// Numbers below 1e-38 count as 0 while a FlushDenormals lives: Adam's vanishing moments otherwise cost up to a hundred
// times an ordinary product. The only text here that knows a CPU; elsewhere it does nothing.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace nws {

class FlushDenormals {
public:
#if defined(__SSE__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
    ~FlushDenormals() { _mm_setcsr(before_); }

private:
    unsigned before_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t(1) << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

private:
    uint64_t before_;
#else
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
};

}  // namespace nws
