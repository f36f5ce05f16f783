#include "net.hpp"

namespace nws {

namespace {

constexpr int EVALUATION_BLOCKS = 2;  // few at a time: their maps stay in L2 from layer to layer

Slots take_slots(long& next, long weights, long width, bool norm) {
    Slots at;
    at.weight = next, next += weights;
    for (long* role : {&at.bias, &at.beta, &at.gamma, &at.mean, &at.variance}) {
        if (!norm && role != &at.bias) break;
        *role = next, next += width;
    }
    return at;
}

}  // namespace

Net::Net(Architecture architecture, const std::vector<float>& theta, uint64_t seed)
    : architecture_(std::move(architecture)),
      blocks_(architecture_.batch / LANES),
      theta_(theta.size()),
      gradient_(theta.size()),
      optimizer_(architecture_.optimizer, theta.size()),
      random_(seed, blocks_),
      labels_(size_t(blocks_) * LANES) {
    if (architecture_.batch % SUMMED || blocks_ < 1)
        throw std::invalid_argument("the batch must be a multiple of 16");
    std::copy(theta.begin(), theta.end(), theta_.data());
    lay_out(architecture_);
    if (size_t(trailing_) != theta.size()) throw std::invalid_argument("theta does not fit the architecture");
}

void Net::lay_out(const Architecture& a) {
    int channels = CHANNELS, side = SIDE;
    for (size_t i = 0; i < a.conv_widths.size(); i++) {
        ConvolutionShape shape{channels, a.conv_widths[i], side, a.filter};
        Slots slots = take_slots(trailing_, long(shape.in) * shape.out * a.filter * a.filter, shape.out, a.batch_norm);
        convs_.push_back(
            std::make_unique<ConvLayer>(shape, a.pools[i], a.batch_norm, i == 0, slots, blocks_, a.direct));
        channels = shape.out, side = convs_.back()->out_side();
    }
    int units = channels * side * side;
    for (size_t i = 0; i < a.fc_widths.size(); i++) {
        bool hidden = i + 1 < a.fc_widths.size();
        Slots slots = take_slots(trailing_, long(units) * a.fc_widths[i], a.fc_widths[i], a.batch_norm && hidden);
        fcs_.push_back(
            std::make_unique<FcLayer>(units, a.fc_widths[i], hidden, a.batch_norm, a.dropout, slots, blocks_));
        units = a.fc_widths[i];
    }
    for (size_t i = 0; i < convs_.size(); i++) {
        std::vector<View> output, gradient;
        for (int b = 0; b < blocks_; b++) {
            if (i + 1 < convs_.size()) {
                output.push_back(convs_[i + 1]->input(b));
                gradient.push_back(convs_[i + 1]->input_gradient(b));
            } else {
                output.push_back(fcs_[0]->input().as_maps(b, channels, side));
                gradient.push_back(fcs_[0]->input_gradient().as_maps(b, channels, side));
            }
        }
        convs_[i]->connect(std::move(output), std::move(gradient));
    }
}

float Net::step(const Pictures& pictures, const int64_t* index, float learning_rate) {
    FlushDenormals flush;
    load(pictures, index);
    for (int i = 0; i < batch(); i++) labels_[i] = pictures.labels[index[i]];
    float loss = forward_and_back(labels_.data());
    optimizer_.update(theta_.data(), gradient_.data(), learning_rate);
    return loss;
}

void Net::load(const Pictures& pictures, const int64_t* index) {
    for (int b = 0; b < blocks_; b++, index += LANES) {
        View x = convs_[0]->input(b);
        if (!architecture_.augmentation) {
            load_clean(pictures, index, x);
            continue;
        }
        Stream stream = random_.open(b);
        Changes changes[LANES];
        draw_changes(architecture_.ranges, stream, changes);
        framed_.load(pictures, index);
        augment(framed_, LaneChanges(changes), x, DrawnNoise{stream});
        random_.close(b, stream);
    }
}

void Net::forward(Mode mode, int blocks) {
    with_activation(architecture_.activation, [&](auto act) {
        using Act = decltype(act);
        for (auto& layer : convs_) layer->template forward<Act>(theta_.data(), mode, blocks);
        for (size_t i = 0; i + 1 < fcs_.size(); i++)
            fcs_[i]->template forward<Act>(theta_.data(), mode, blocks, random_, fcs_[i + 1]->input());
    });
    fcs_.back()->product(theta_.data(), blocks);
}

float Net::forward_and_back(const int* labels) {
    for (auto& layer : convs_) layer->set_weights(theta_.data());
    forward(Mode::train, blocks_);
    double loss = 0;
    for (int first = 0; first < blocks_; first += PARTS) {
        double of_sixteen = 0;
        for (int b = first; b < first + PARTS; b++)
            cross_entropy(fcs_.back()->active(), labels + b * LANES, b, 1.0f / batch(),
                          fcs_.back()->logit_gradient(), of_sixteen);
        loss += of_sixteen;
    }
    with_activation(architecture_.activation, [&](auto act) {
        using Act = decltype(act);
        for (size_t i = fcs_.size(); i-- > 0;)
            fcs_[i]->template backward<Act>(
                theta_.data(), gradient_.data(),
                i + 1 < fcs_.size() ? fcs_[i + 1]->input_gradient() : fcs_[i]->logit_gradient());
        for (size_t i = convs_.size(); i-- > 0;) convs_[i]->template backward<Act>(gradient_.data());
    });
    return float(loss / batch());
}

long Net::correct(const Pictures& pictures, const int64_t* index, long n) {
    FlushDenormals flush;
    for (auto& layer : convs_) layer->set_weights(theta_.data());
    int together = std::min(EVALUATION_BLOCKS, blocks_) * LANES;
    std::vector<int64_t> chunk(together);
    long hits = 0;
    for (long first = 0; first < n; first += together) {
        int real = int(std::min<long>(together, n - first));
        for (int i = 0; i < together; i++)
            chunk[i] = index[first + std::min(i, real - 1)];  // the last chunk is filled up, not counted
        for (int b = 0; b < together / LANES; b++) load_clean(pictures, chunk.data() + b * LANES, convs_[0]->input(b));
        forward(Mode::evaluate, together / LANES);
        for (int i = 0; i < real; i++)
            hits += highest_unit(fcs_.back()->active(), i / LANES, i % LANES) == pictures.labels[chunk[i]];
    }
    return hits;
}

float Net::loss_and_gradient(const float* x, const int* labels) {
    for (int i = 0; i < batch(); i++)
        for (int c = 0; c < CHANNELS; c++)
            for (int h = 0; h < SIDE; h++)
                for (int w = 0; w < SIDE; w++) convs_[0]->input(i / LANES).at(c, h, w)[i % LANES] = *x++;
    return forward_and_back(labels);
}

void Net::augmented(const Pictures& pictures, const int64_t* index, const Changes* changes, const float* noise,
                    float* result) {
    View x = convs_[0]->input(0);
    Changes of_lanes[LANES];
    Stream stream = random_.open(0);
    if (changes)
        std::copy(changes, changes + LANES, of_lanes);
    else
        draw_changes(architecture_.ranges, stream, of_lanes);
    framed_.load(pictures, index);
    if (noise)
        augment(framed_, LaneChanges(of_lanes), x, [&](int h, int w, Vec(&normal)[2][CHANNELS]) {
            for (int i = 0; i < 2; i++)
                for (int k = 0; k < CHANNELS; k++) {
                    alignas(64) float lanes[LANES];
                    for (int lane = 0; lane < LANES; lane++)
                        lanes[lane] = noise[((lane * CHANNELS + k) * SIDE + h) * SIDE + w + i];
                    normal[i][k] = nws::load(lanes);
                }
        });
    else
        augment(framed_, LaneChanges(of_lanes), x, DrawnNoise{stream});
    random_.close(0, stream);
    for (int lane = 0; lane < LANES; lane++)
        for (int c = 0; c < CHANNELS; c++)
            for (int h = 0; h < SIDE; h++)
                for (int w = 0; w < SIDE; w++) *result++ = x.at(c, h, w)[lane];
}

}  // namespace nws
