// The Python module nws.families._kan: numpy arrays in, numbers out. It checks every index; what is behind it checks nothing.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "net.hpp"

namespace nb = nanobind;
using namespace kan;

namespace {

template <class T, int DIMENSIONS>
using In = nb::ndarray<const T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;
using Array = nb::ndarray<nb::numpy, float>;

Array new_array(std::vector<size_t> shape) {
    size_t size = 1;
    for (size_t n : shape) size *= n;
    float* data = new float[size];
    return Array(data, shape.size(), shape.data(), nb::capsule(data, [](void* p) noexcept { delete[] static_cast<float*>(p); }));
}

void need(bool true_, const char* what) {
    if (!true_) throw nb::value_error(what);
}

struct Trained {
    Net net;

    Trained(const Trained&) = delete;

    Trained(std::vector<int> widths, int grid, float low, float high, In<float, 1> theta) : net(checked(widths, grid, low, high), grid, low, high) {
        need(theta.shape(0) == net.count(), "theta has not as many numbers as the net");
        net.set(theta.data());
    }

    static const std::vector<int>& checked(const std::vector<int>& widths, int grid, float low, float high) {
        need(widths.size() >= 2 && grid >= 1 && grid <= 1 << 16 && low < high, "a net needs two widths, a grid and a range");
        for (int width : widths) need(width >= 1 && width <= 1 << 20, "a width must be at least 1");
        return widths;
    }

    Array theta() {
        Array out = new_array({net.count()});
        net.get(out.data());
        return out;
    }

    void check(In<uint8_t, 2> pixels, In<int, 1> labels, In<int64_t, 2> batches) const {
        need(long(pixels.shape(1)) == net.inputs() && pixels.shape(0) == labels.shape(0), "pictures or labels do not suit the net");
        for (size_t i = 0; i < labels.shape(0); i++)
            need(labels.data()[i] >= 0 && labels.data()[i] < net.outputs(), "a label lies outside the outputs");
        for (size_t i = 0; i < batches.size(); i++)
            need(batches.data()[i] >= 0 && batches.data()[i] < int64_t(pixels.shape(0)), "an index lies outside the images");
    }

    double add_classes(const uint8_t* pixels, const int* labels, const int64_t* index, long batch) {
        double loss = 0;
        for (long first = 0; first < batch; first += TILE) {
            long n = batch - first < TILE ? batch - first : TILE;
            net.of_bytes(pixels, index + first, n);
            loss += net.cross_entropy(labels, index + first, n, batch);
            net.bytes_back(pixels, index + first, n);
        }
        return loss / batch;
    }

    double add_places(const Features* f, const float* target, long batch) {
        double loss = 0;
        const long stride = padded(net.inputs()) / LANES;
        for (long first = 0; first < batch; first += TILE) {
            long n = batch - first < TILE ? batch - first : TILE;
            net.of_places(f + first * stride, n);
            loss += net.squares(target + first * net.outputs(), n, batch);
            net.places_back(f + first * stride, n);
        }
        return loss / batch / net.outputs();
    }

    double train_classes(In<uint8_t, 2> pixels, In<int, 1> labels, In<int64_t, 2> batches, float rate, float decay) {
        check(pixels, labels, batches);
        nb::gil_scoped_release others_may_run;
        NoDenormals flushed;
        double loss = 0;
        const long steps = batches.shape(0), batch = batches.shape(1);
        for (long s = 0; s < steps; s++) {
            loss += add_classes(pixels.data(), labels.data(), batches.data() + s * batch, batch);
            net.update(rate, decay);
        }
        return steps ? loss / steps : 0;
    }

    long fit(In<float, 2> x, In<float, 2> target, In<float, 1> rates, float decay, double goal) {
        need(long(x.shape(1)) == net.inputs() && long(target.shape(1)) == net.outputs() && x.shape(0) == target.shape(0),
             "places or values do not suit the net");
        nb::gil_scoped_release others_may_run;
        NoDenormals flushed;
        auto f = net.described(x.data(), x.shape(0));
        for (size_t s = 0; s < rates.shape(0); s++) {
            if (add_places(f.data(), target.data(), x.shape(0)) <= goal) {
                net.forget();
                return long(s);
            }
            net.update(rates.data()[s], decay);
        }
        return long(rates.shape(0));
    }

    Array gradient_of_classes(In<uint8_t, 2> pixels, In<int, 1> labels, In<int64_t, 2> batches) {
        check(pixels, labels, batches);
        for (size_t s = 0; s < batches.shape(0); s++)
            add_classes(pixels.data(), labels.data(), batches.data() + s * batches.shape(1), batches.shape(1));
        Array out = new_array({net.count()});
        net.gradient(out.data());
        return out;
    }

    std::pair<Array, Array> scores(In<uint8_t, 2> pixels) {
        need(long(pixels.shape(1)) == net.inputs() && pixels.shape(0), "pictures do not suit the net");
        size_t edges = 0;
        for (const Layer& l : net.layers) edges += size_t(l.inputs) * l.outputs;
        Array mean = new_array({edges}), deviation = new_array({edges});
        NoDenormals flushed;
        net.scores(pixels.data(), pixels.shape(0), mean.data(), deviation.data());
        return {mean, deviation};
    }

    template <class Run>
    Array collected(long n, Run run) {
        Array out = new_array({size_t(n), size_t(net.outputs())});
        NoDenormals flushed;
        for (long first = 0; first < n; first += TILE) {
            long some = n - first < TILE ? n - first : TILE;
            const float* y = run(first, some);
            for (long i = 0; i < some; i++)
                std::memcpy(out.data() + (first + i) * net.outputs(), y + i * net.wide(), 4 * size_t(net.outputs()));
        }
        return out;
    }

    Array of_bytes(In<uint8_t, 2> pixels) {
        need(long(pixels.shape(1)) == net.inputs(), "pictures do not suit the net");
        return collected(pixels.shape(0), [&](long first, long n) {
            return net.of_bytes(pixels.data() + first * net.inputs(), nullptr, n);
        });
    }

    Array of_places(In<float, 2> x) {
        need(long(x.shape(1)) == net.inputs(), "places do not suit the net");
        auto f = net.described(x.data(), x.shape(0));
        const long stride = padded(net.inputs()) / LANES;
        return collected(x.shape(0), [&](long first, long n) { return net.of_places(f.data() + first * stride, n); });
    }
};

}  // namespace

NB_MODULE(_kan, m) {
    nb::class_<Trained>(m, "Net", "Layers of cubic splines (widths) on one grid, with AdamW's state. theta: nws.families.kan's order.")
        .def(nb::init<std::vector<int>, int, float, float, In<float, 1>>(), nb::arg("widths"), nb::arg("grid"), nb::arg("low"),
             nb::arg("high"), nb::arg("theta"))
        .def("theta", &Trained::theta)
        .def("train_classes", &Trained::train_classes, nb::arg("pixels"), nb::arg("labels"), nb::arg("batches"), nb::arg("rate"),
             nb::arg("decay"), "A step per row of batches; the mean cross entropy.")
        .def("fit", &Trained::fit, nb::arg("x"), nb::arg("target"), nb::arg("rates"), nb::arg("decay"),
             nb::arg("goal"), "A step per rate on all places, until the mean square is at most the goal; how many steps.")
        .def("gradient_of_classes", &Trained::gradient_of_classes, nb::arg("pixels"), nb::arg("labels"), nb::arg("batches"))
        .def("scores", &Trained::scores, nb::arg("pixels"), "(E,) mean |phi| and (E,) deviation of phi, as nws.families.splines.scores.")
        .def("of_bytes", &Trained::of_bytes, nb::arg("pixels"))
        .def("of_places", &Trained::of_places, nb::arg("x"));
}
