"""The trainer: the loop's rules, the torch engine's arithmetic, and that a net does not depend on its company."""

import multiprocessing

import numpy as np
import pytest
import torch

import nws
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.images import ImageSet
from nws.net import snapshot_records
from nws.train import Job, Progress, Schedule, engines, train, train_net
from nws.train.early_stopping import EarlyStopping
from nws.train.loop import DECAY, balanced, epoch_batches, split_validation
from nws.train.torch_engine import OPTIMIZERS, TorchEngine

SMALL = nws.FIXED.with_(filter_size=3, width_conv=4, width_fc=16, batch_size=32, dataset="toy")


@pytest.fixture(scope="module")
def toy() -> ImageSet:
    """Two hundred pictures whose class is the place of a bright square: learnable in a few epochs."""
    rng = np.random.default_rng(0)

    def half(n):
        y = np.arange(n) % 10
        x = rng.integers(0, 60, (n, 32, 32, 3), dtype=np.uint8)
        for picture, label in zip(x, y):
            picture[3 * label : 3 * label + 4, 4:28] += 150
        return x, y

    (x_train, y_train), (x_test, y_test) = half(200), half(60)
    return ImageSet("toy", x_train, y_train, x_test, y_test, tuple("0123456789"))


def hp(**changes):
    base = {
        "optimizer": "adam",
        "activation": "relu",
        "initialization": "glorot_normal",
        "augmentation": False,
        "learning_rate": 0.002,
    }
    return SMALL.sample(1)[0].with_(**(base | changes))


# Early stopping: hand-written sequences


def stop_at(accuracies):
    stopping = EarlyStopping()
    return next((t for t, v in enumerate(accuracies, 1) if stopping.update(v)), None)


RISING = list(np.linspace(0.1, 0.5, 20))


def test_five_consecutive_decreases_stop():
    assert stop_at([*RISING, 0.49, 0.48, 0.47, 0.46, 0.45]) == 25


def test_four_decreases_do_not_and_an_equal_value_breaks_the_run():
    assert stop_at([*RISING, 0.49, 0.48, 0.47, 0.46, 0.6]) is None
    assert stop_at([*RISING, 0.49, 0.48, 0.47, 0.46, 0.46, 0.45, 0.44, 0.43, 0.42]) is None
    assert stop_at([*RISING, 0.49, 0.48, 0.47, 0.46, 0.46, 0.45, 0.44, 0.43, 0.42, 0.41]) == 30


def test_nothing_stops_before_record_20():
    falling = list(np.linspace(0.9, 0.1, 40))
    assert stop_at(falling) == 20


def test_thirty_values_below_the_filtered_one_stop():
    # up, down, up, down: each low value lies below the filtered accuracy, each high one above
    zigzag = [0.5, *([0.4, 0.6] * 40)]
    assert stop_at(zigzag) == 60  # the 30th low value is the 60th record


def test_thirty_values_without_change_stop():
    assert stop_at([0.1, *([0.2] * 40)]) == 32
    assert stop_at([0.1] * 40) == 31
    assert stop_at([0.1, *([0.2] * 29), 0.3, *([0.4] * 29)]) is None


def test_filter_is_the_mean_of_new_and_old():
    stopping = EarlyStopping()
    for v, f in ((0.2, 0.2), (0.4, 0.3), (0.1, 0.2)):
        stopping.update(v)
        assert stopping.filtered == pytest.approx(f)


# Snapshots, validation, batches


@pytest.mark.parametrize("records", [20, 21, 35, 137, 1001])
def test_snapshots_are_round_linspace_first_and_last_included(records):
    kept = snapshot_records(records, 20)
    assert list(kept + 1) == [round(1 + (records - 1) * k / 19) for k in range(20)]
    assert kept[0] == 0
    assert kept[-1] == records - 1


def test_validation_is_a_tenth_and_disjoint():
    validation, training = split_validation(1000, np.random.default_rng(0))
    assert len(validation) == 100
    assert sorted([*validation, *training]) == list(range(1000))


def test_an_epoch_is_whole_batches_of_a_fresh_permutation():
    labels, training = np.arange(100) % 10, np.arange(5, 95)
    rng = np.random.default_rng(0)
    first, second = (epoch_batches(labels, training, 32, rng) for _ in range(2))
    assert first.shape == (2, 32)
    assert len(np.unique(first)) == 64
    assert set(first.ravel()) <= set(training)
    assert not np.array_equal(first, second)


def test_fewer_images_than_a_batch_make_one_step():
    assert epoch_batches(np.arange(20) % 10, np.arange(20), 32, np.random.default_rng(0)).shape == (1, 20)


def test_unbalanced_sets_are_balanced_afresh_each_epoch():
    labels = np.repeat([0, 1, 2], [50, 100, 150])
    rng = np.random.default_rng(0)
    epochs = [epoch_batches(labels, np.arange(300), 10, rng).ravel() for _ in range(2)]
    for index in epochs:
        assert np.bincount(labels[index]).tolist() == [50, 50, 50]
    assert set(epochs[0]) != set(epochs[1])
    kept = balanced(labels, np.arange(40, 300), rng)
    assert np.bincount(labels[kept]).tolist() == [10, 10, 10]


# Optimizers: TensorFlow 1's rules written out in float64


def reference(rule, weights, gradients, lr):
    w, m, v, velocity = weights.astype(float), 0.0, 0.0, 0.0
    v_rms = np.ones_like(w)
    for t, g in enumerate(gradients.astype(float), 1):
        if rule == "adam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
        elif rule == "rmsprop":
            v_rms = 0.9 * v_rms + 0.1 * g * g
            w = w - lr * g / np.sqrt(v_rms + 1e-10)
        else:
            velocity = 0.95 * velocity + g
            w = w - lr * velocity
    return w


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_optimizers_follow_tensorflow_1(rule, scale):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=50), rng.normal(size=(25, 50)) * scale
    w, g = torch.tensor(start, dtype=torch.float32), torch.zeros(50)
    update = OPTIMIZERS[rule](w, g)
    for row in gradients:
        g.copy_(torch.from_numpy(row))
        update(0.003)
    wanted = reference(rule, start, gradients, 0.003)
    np.testing.assert_allclose(w.numpy() - start, wanted - start, rtol=2e-3, atol=1e-6 * max(1.0, np.abs(start).max()))


def test_the_engine_gives_the_optimizer_the_gradient_of_the_mean_loss(toy):
    """One momentum step without dropout is w - lr * gradient, computed by autograd on an independent copy."""
    hyper = hp(optimizer="momentum")
    theta = cnn.initialize(hyper, np.random.default_rng(0))
    engine = TorchEngine(hyper, theta, toy, seed=1)
    for m in engine._module:
        if type(m).__name__ == "Dropout":
            m.forward = lambda x: x
    batch = np.arange(32)[None]
    engine.train(batch, 0.01)

    module = cnn.module(hyper)
    module.load_state_dict({k: torch.tensor(v) for k, v in cnn.layout(hyper).state_dict(theta).items()}, strict=False)
    for name, m in module.named_modules():
        if name.endswith("_dropout"):
            m.forward = lambda x: x
    x = torch.from_numpy(toy.x_train[:32]).permute(0, 3, 1, 2).float() / 255
    torch.nn.functional.cross_entropy(module(x), torch.from_numpy(toy.y_train[:32])).backward()
    with torch.no_grad():
        for p in module.parameters():
            p -= 0.01 * p.grad
    np.testing.assert_allclose(engine.theta(), cnn.layout(hyper).from_state_dict(module.state_dict()), atol=2e-6)


# Whole trainings


def test_a_training_learns_and_records_what_happened(toy):
    said = []
    net = train_net(Job(3, hp(learning_rate=0.005)), toy, TorchEngine, Schedule(7, 5, 12), said.append)
    assert net.status == "ok"
    known = {"seed": 7, "engine": "torch", "nws": nws.__version__, "images": toy.about["sha256"]}
    assert net.about == {**known, "instruction_set": torch.backends.cpu.get_cpu_capability().lower()}
    assert net.test_accuracy > 0.6  # of ten classes
    assert net.theta.shape == (5, cnn.layout(net.hp).size)
    assert list(net.epoch) == [0, 3, 6, 9, 12]
    assert net.history[:, 0].tolist() == [5 * e for e in range(13)]  # 180 // 32 steps an epoch
    assert [p.epoch for p in said] == list(range(13))
    assert sum(p.images for p in said) == 12 * 160
    np.testing.assert_array_equal(net.theta[0], cnn.initialize(net.hp, np.random.default_rng([7, 3, 2])))


def test_the_last_snapshot_has_the_recorded_accuracy_in_plain_pytorch(toy):
    net = train_net(Job(0, hp(activation="elu")), toy, TorchEngine, Schedule(epochs=4))
    module = cnn.module(net.hp).eval()
    module.load_state_dict({k: torch.tensor(v) for k, v in net.layout.state_dict(net.theta[-1]).items()}, strict=False)
    x = torch.from_numpy(toy.x_test).permute(0, 3, 1, 2).float() / 255
    assert (module(x).argmax(1).numpy() == toy.y_test).mean() == pytest.approx(net.test_accuracy)


def test_evaluation_changes_nothing(toy):
    engine = TorchEngine(hp(), cnn.initialize(hp(), np.random.default_rng(0)), toy, seed=0)
    engine.train(np.arange(64).reshape(2, 32), 1e-3)
    before = engine.theta()
    engine.accuracy("test")
    engine.accuracy("train", np.arange(50))
    np.testing.assert_array_equal(engine.theta(), before)


def test_test_images_never_touch_the_net(toy):
    other = ImageSet("toy", toy.x_train, toy.y_train, toy.x_test[::-1] // 2, toy.y_test, toy.classes)
    a, b = (train_net(Job(0, hp(augmentation=True)), images, TorchEngine, Schedule(epochs=3)) for images in (toy, other))
    np.testing.assert_array_equal(a.theta, b.theta)


def test_learning_rate_falls_by_4_percent_an_epoch(toy):
    rates = []

    class Watched(TorchEngine):
        def train(self, batches, learning_rate):
            rates.append(learning_rate)
            return super().train(batches, learning_rate)

    train_net(Job(0, hp(learning_rate=0.004)), toy, Watched, Schedule(epochs=3))
    assert rates == pytest.approx([0.004, 0.004 * DECAY, 0.004 * DECAY**2])


@pytest.mark.parametrize("poison", ["weights", "loss"])
def test_diverged_nets_are_kept_with_that_status(toy, poison):
    class Exploding(TorchEngine):
        def train(self, batches, learning_rate):
            loss = super().train(batches, learning_rate)
            if poison == "loss":
                return float("nan")
            self._weights.fill_(float("inf"))
            return loss

    net = train_net(Job(0, hp()), toy, Exploding, Schedule(epochs=5))
    assert net.status == "diverged"
    assert len(net.history) == 2
    assert len(net.theta) == 20


def test_a_huge_learning_rate_is_not_fatal(toy):
    net = train_net(
        Job(0, hp(optimizer="momentum", initialization="normal", learning_rate=1e30)), toy, TorchEngine, Schedule(epochs=4)
    )
    assert net.status == "diverged"


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_net_does_not_depend_on_its_company(toy, engine):
    seed = 1
    jobs = [Job(i, h) for i, h in enumerate(SMALL.sample(4, seed))]
    schedule = Schedule(seed, snapshots=3, epochs=2)
    alone = {n.number: n for n in train(jobs, {"toy": toy}, schedule, engine=engine)}
    together = {n.number: n for n in train(jobs[::-1], {"toy": toy}, schedule, engine=engine, workers=2)}
    assert sorted(alone) == sorted(together) == [0, 1, 2, 3]
    for number, net in alone.items():
        np.testing.assert_array_equal(net.theta, together[number].theta)
        np.testing.assert_array_equal(net.history, together[number].history)
    again = next(iter(train(jobs[2:3], {"toy": toy}, schedule, engine=engine)))
    np.testing.assert_array_equal(again.theta, alone[2].theta)


def test_another_seed_gives_another_net(toy):
    a, b = (train_net(Job(0, hp()), toy, TorchEngine, Schedule(seed, epochs=1)) for seed in (0, 1))
    assert not np.array_equal(a.theta[-1], b.theta[-1])


def test_progress_is_told_from_workers(toy):
    said = []
    list(train([Job(i, hp()) for i in range(2)], {"toy": toy}, Schedule(epochs=2), workers=2, on_progress=said.append))
    assert {p.number for p in said} == {0, 1}
    assert all(isinstance(p, Progress) for p in said)


def test_closing_the_iterator_ends_the_workers(toy):
    nets = train([Job(i, hp()) for i in range(8)], {"toy": toy}, Schedule(epochs=5), workers=2)
    next(nets)
    nets.close()
    assert not multiprocessing.active_children()


def test_names_outside_the_lists_are_refused(toy):
    with pytest.raises(NwsError, match="engine 'numpy' is unknown: use one of"):
        engines.check("numpy")
    with pytest.raises(NwsError, match="net 0 wants an image set that was not given"):
        next(train([Job(0, hp(dataset="mnist"))], {"toy": toy}))


@pytest.mark.skipif(engines.kind("native").why_not() is not None, reason="the native engine is not built")
def test_a_net_says_for_which_instruction_set_the_engine_was_compiled(toy):
    (net,) = train([Job(0, hp())], {"toy": toy}, Schedule(epochs=0), engine="native")
    assert net.about["instruction_set"] in ("x86-64-v4", "x86-64-v3", "armv8-a")
