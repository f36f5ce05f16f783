// The Python module nws.train._native: numpy arrays in, numbers out. It checks every index; the engine behind it checks
// nothing.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <string>
#include <utility>

#include "net.hpp"

namespace nb = nanobind;
using namespace nws;

namespace {

template <class T, int DIMENSIONS>
using In = nb::ndarray<const T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;
using PictureArray = nb::ndarray<const uint8_t, nb::shape<-1, SIDE, SIDE, CHANNELS>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, float>;

Floats new_array(std::vector<size_t> shape) {
    size_t size = 1;
    for (size_t n : shape) size *= n;
    float* data = new float[size];
    return Floats(data, shape.size(), shape.data(),
                  nb::capsule(data, [](void* p) noexcept { delete[] static_cast<float*>(p); }));
}

void check_indices(const int64_t* index, size_t n, long count) {
    for (size_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= count) throw nb::index_error("an index lies outside the images");
}

void check_labels(const int* labels, size_t n, int outputs) {
    for (size_t i = 0; i < n; i++)
        if (labels[i] < 0 || labels[i] >= outputs) throw nb::value_error("a label lies outside the outputs");
}

// Keeps the arrays alive: the engine reads them where they are.
struct ImageSet {
    PictureArray pixels;
    In<int, 1> labels;
    Pictures pictures;

    ImageSet(PictureArray x, In<int, 1> y) : pixels(x), labels(y), pictures{x.data(), y.data(), long(x.shape(0))} {
        if (y.shape(0) != x.shape(0)) throw nb::value_error("as many labels as images are needed");
    }
};

// What options are called, in the order of the enumerations. An option that is none of these is refused: another number would leave
// theta as it began.
constexpr std::array<std::pair<const char*, Activation>, 4> ACTIVATIONS{{{"relu", Activation::relu},
                                                                         {"elu", Activation::elu},
                                                                         {"sigmoid", Activation::sigmoid},
                                                                         {"tanh", Activation::tanh}}};
constexpr std::array<std::pair<const char*, Rule>, 3> RULES{
    {{"adam", Rule::adam}, {"rmsprop", Rule::rmsprop}, {"momentum", Rule::momentum}}};

template <class Options>
auto named(const std::string& name, const Options& options, const char* what) {
    for (auto& [option, value] : options)
        if (name == option) return value;
    throw nb::value_error((std::string("the native engine has no ") + what + " '" + name + "'").c_str());
}

struct Engine {
    int outputs;
    Net net;

    Engine(int filter, int batch, std::vector<int> conv_widths, std::vector<bool> pools, std::vector<int> fc_widths,
           bool batch_norm, bool augmentation, float dropout, const std::string& activation, const std::string& optimizer,
           std::vector<std::pair<float, float>> ranges, In<float, 1> theta, uint64_t seed, bool direct)
        : outputs(fc_widths.back()),
          net(architecture(filter, batch, conv_widths, pools, fc_widths, batch_norm, augmentation, dropout, activation,
                           optimizer, ranges, direct),
              std::vector<float>(theta.data(), theta.data() + theta.size()), seed) {}

    static Architecture architecture(int filter, int batch, std::vector<int> conv_widths, std::vector<bool> pools,
                                     std::vector<int> fc_widths, bool batch_norm, bool augmentation, float dropout,
                                     const std::string& activation, const std::string& optimizer, const std::vector<std::pair<float, float>>& ranges,
                                     bool direct) {
        if (ranges.size() != CHANGES) throw nb::value_error("eleven ranges are needed");
        Ranges r;
        for (int k = 0; k < CHANGES; k++) r.low[k] = ranges[k].first, r.high[k] = ranges[k].second;
        return {filter,          batch,     conv_widths,
                pools,           fc_widths, batch_norm,
                augmentation,    dropout,   named(activation, ACTIVATIONS, "activation"),
                named(optimizer, RULES, "optimizer"), r,         direct};
    }

    float train(const ImageSet& images, In<int64_t, 2> batches, float learning_rate) {
        if (int(batches.shape(1)) != net.batch()) throw nb::value_error("the batches are not of the net's size");
        check_indices(batches.data(), batches.size(), images.pictures.count);
        check_labels(images.labels.data(), images.labels.size(), outputs);
        constexpr size_t STEPS_PER_LOOK = 20;  // between looks whether the user pressed Ctrl-C
        double total = 0;
        for (size_t first = 0; first < batches.shape(0); first += STEPS_PER_LOOK) {
            {
                nb::gil_scoped_release others_may_run;
                for (size_t s = first; s < std::min(first + STEPS_PER_LOOK, batches.shape(0)); s++)
                    total += net.step(images.pictures, batches.data() + s * batches.shape(1), learning_rate);
            }
            if (PyErr_CheckSignals()) throw nb::python_error();
        }
        return float(total / double(batches.shape(0)));
    }

    long correct(const ImageSet& images, In<int64_t, 1> index) {
        check_indices(index.data(), index.size(), images.pictures.count);
        nb::gil_scoped_release others_may_run;
        return net.correct(images.pictures, index.data(), long(index.size()));
    }

    Floats theta() const {
        Floats copy = new_array({net.size()});
        net.copy_theta(copy.data());
        return copy;
    }

    std::pair<float, Floats> gradient(In<float, 4> x, In<int, 1> labels) {
        if (x.size() != size_t(net.batch()) * PICTURE_BYTES || int(labels.size()) != net.batch())
            throw nb::value_error("not one batch");
        check_labels(labels.data(), labels.size(), outputs);
        float loss = net.loss_and_gradient(x.data(), labels.data());
        Floats copy = new_array({net.size()});
        std::copy(net.gradient(), net.gradient() + net.size(), copy.data());
        return {loss, copy};
    }

    Floats augmented(const ImageSet& images, In<int64_t, 1> index, nb::object changes, nb::object noise) {
        check_indices(index.data(), index.size(), images.pictures.count);
        if (index.size() != LANES) throw nb::value_error("one image per lane is needed");
        Floats result = new_array({LANES, CHANNELS, SIDE, SIDE});
        bool given = !changes.is_none();
        auto c = given ? nb::cast<In<float, 2>>(changes) : In<float, 2>();
        auto z = given ? nb::cast<In<float, 4>>(noise) : In<float, 4>();
        if (given && (c.size() != LANES * CHANGES || z.size() != size_t(LANES) * PICTURE_BYTES))
            throw nb::value_error("not one block");
        net.augmented(images.pictures, index.data(), given ? reinterpret_cast<const Changes*>(c.data()) : nullptr,
                      given ? z.data() : nullptr, result.data());
        return result;
    }
};

}  // namespace

NB_MODULE(_native, m) {
    m.attr("LANES") = LANES;
    m.attr("INSTRUCTION_SET") = INSTRUCTION_SET;
    nb::class_<ImageSet>(m, "ImageSet").def(nb::init<PictureArray, In<int, 1>>(), nb::arg("pixels"), nb::arg("labels"));
    nb::class_<Engine>(m, "Engine")
        .def(nb::init<int, int, std::vector<int>, std::vector<bool>, std::vector<int>, bool, bool, float, std::string, std::string,
                      std::vector<std::pair<float, float>>, In<float, 1>, uint64_t, bool>(),
             nb::arg("filter"), nb::arg("batch"), nb::arg("conv_widths"), nb::arg("pools"), nb::arg("fc_widths"),
             nb::arg("batch_norm"), nb::arg("augmentation"), nb::arg("dropout"), nb::arg("activation"),
             nb::arg("optimizer"), nb::arg("ranges"), nb::arg("theta"), nb::arg("seed"), nb::arg("direct"))
        .def("train", &Engine::train, "One step per row of batches (steps, B) int64; returns the mean loss.")
        .def("correct", &Engine::correct, "How many of the images `index` are classified correctly.")
        .def("theta", &Engine::theta, "A copy of the weights.")
        .def("gradient", &Engine::gradient, "For tests: (loss, gradient) of x (B, 3, 32, 32) and labels (B,) int32.")
        .def("augmented", &Engine::augmented, nb::arg("images"), nb::arg("index"), nb::arg("changes") = nb::none(),
             nb::arg("noise") = nb::none(),
             "For tests: one block of changed images, by given changes and noise or by drawn ones.");
}
