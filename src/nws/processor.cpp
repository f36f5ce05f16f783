// The Python module nws._processor: which instruction sets this processor has, best first. Compiled for any processor;
// nws.processor asks it before it loads a module that is not.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

namespace {

// As CMakeLists.txt calls them. What the operating system does not save between programs does not count.
std::vector<std::string> instruction_sets() {
    std::vector<std::string> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    if (v4) found.push_back("x86-64-v4");
    if (v3) found.push_back("x86-64-v3");
#elif defined(__aarch64__)
    found.push_back("armv8-a");
#endif
    return found;
}

}  // namespace

NB_MODULE(_processor, m) { m.def("instruction_sets", &instruction_sets); }
