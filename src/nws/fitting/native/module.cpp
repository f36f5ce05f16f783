// The Python module nws.fitting._fitter: numpy arrays in, numpy arrays out. It checks every shape; the fitter behind it
// checks nothing.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "fitter.hpp"

namespace nb = nanobind;
using namespace nws;

namespace {

template <class T, int DIMENSIONS>
using In = nb::ndarray<const T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;

template <class T>
nb::ndarray<nb::numpy, T> new_array(std::initializer_list<size_t> shape) {
    size_t size = 1;
    for (size_t n : shape) size *= n;
    T* data = new T[size]();
    return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.begin(),
                                     nb::capsule(data, [](void* p) noexcept { delete[] static_cast<T*>(p); }));
}

constexpr int LARGEST = 1 << 12;  // units of a layer, and layers

// Everything a call is given, checked: theta (N, P), points (count, inputs), target (N, count, outputs), each of `how` (N, 4):
// learning rate, omega, offset, goal.
struct Given {
    Shape shape;
    size_t nets, count, weights;
    std::vector<Wish> wishes;

    Given(std::tuple<int, int, int> form, bool sine, In<float, 2> theta, In<float, 2> points, In<float, 3> target, In<float, 2> how) {
        auto [width, depth, outputs] = form;
        if (width < 1 || depth < 1 || outputs < 1 || width > LARGEST || depth > LARGEST || outputs > LARGEST)
            throw nb::value_error("width, depth and outputs must be 1 to 4096");
        shape = {int(points.shape(1)), width, depth, outputs, sine};
        nets = theta.shape(0), count = points.shape(0), weights = theta.shape(1);
        if (!count || count > (1u << 24) || points.shape(1) < 1 || points.shape(1) > 16) throw nb::value_error("not the points of a signal");
        size_t expected = size_t(width) * (shape.inputs + 1) + size_t(depth - 1) * width * (width + 1) + size_t(outputs) * (width + 1);
        if (weights != expected) throw nb::value_error("theta does not have the weights of this shape");
        if (target.shape(0) != nets || target.shape(1) != count || int(target.shape(2)) != outputs)
            throw nb::value_error("target must be (nets, points, outputs)");
        if (how.shape(0) != nets || how.shape(1) != 4) throw nb::value_error("four numbers per net are needed");
        for (size_t n = 0; n < nets; n++) {
            const float* h = how.data() + 4 * n;
            wishes.push_back({theta.data() + n * weights, target.data() + n * count * outputs, 0, h[0], h[1], h[2], h[3], nullptr});
        }
    }
};

// One look for Ctrl-C per so many passes.
constexpr int PASSES_PER_LOOK = 16;

auto fit(std::tuple<int, int, int> form, bool sine, In<float, 2> theta, In<float, 2> points, In<float, 3> target, In<float, 2> how,
         In<int64_t, 2> records) {
    Given given(form, sine, theta, points, target, how);
    size_t N = given.nets, S = records.shape(1), P = given.weights;
    if (records.shape(0) != N || !S) throw nb::value_error("records must be (nets, snapshots)");
    auto kept = new_array<float>({N, S, P});
    auto loss = new_array<float>({N, S});
    auto steps = new_array<int64_t>({N, S});
    std::vector<Outcome> outcomes;
    for (size_t n = 0; n < N; n++) {
        const int64_t* rows = records.data() + n * S;
        for (size_t s = 0; s < S; s++)
            if (rows[s] < 0 || rows[s] > (1 << 30) || (s && rows[s] < rows[s - 1])) throw nb::value_error("records must not fall");
        given.wishes[n].steps = int(rows[S - 1]);
        given.wishes[n].records = rows;
        outcomes.push_back({kept.data() + n * S * P, loss.data() + n * S, steps.data() + n * S});
    }
    auto fitter = make_fitter(given.shape, points.data(), int(given.count), given.wishes, outcomes, int(S));
    for (bool going = true; going;) {
        {
            nb::gil_scoped_release others_may_run;
            going = fitter->advance(PASSES_PER_LOOK);
        }
        if (PyErr_CheckSignals()) throw nb::python_error();
    }
    return std::make_tuple(kept, loss, steps);
}

auto gradient(std::tuple<int, int, int> form, bool sine, In<float, 2> theta, In<float, 2> points, In<float, 3> target, In<float, 2> how) {
    Given given(form, sine, theta, points, target, how);
    if (given.nets > size_t(LANES)) throw nb::value_error("more nets than lanes");
    auto loss = new_array<float>({given.nets});
    auto found = new_array<float>({given.nets, given.weights});
    make_fitter(given.shape, points.data(), int(given.count), {}, {}, 0)->gradient(given.wishes.data(), int(given.nets), loss.data(), found.data());
    return std::make_tuple(loss, found);
}

}  // namespace

NB_MODULE(_fitter, m) {
    m.attr("LANES") = LANES;
    m.def("fit", &fit, nb::arg("form"), nb::arg("sine"), nb::arg("theta"), nb::arg("points"), nb::arg("target"), nb::arg("how"),
          nb::arg("records"), "(theta (N, S, P), loss (N, S), steps (N, S)): each net at its records, or at its end where that came before.");
    m.def("gradient", &gradient, nb::arg("form"), nb::arg("sine"), nb::arg("theta"), nb::arg("points"), nb::arg("target"), nb::arg("how"),
          "For tests: (loss (N,), gradient (N, P)) of at most LANES nets.");
}
