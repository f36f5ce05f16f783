"""The GPU engine, on the CPU: nets equal to the torch engine's, alone or in any company, captured or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captured import RecordedLane

import nws
from nws.device import Lane
from nws.errors import NwsError
from nws.families import cnn2020 as cnn
from nws.images import ImageSet
from nws.train import Job, Progress, Schedule, train, train_net
from nws.train.gpu_engine import PIECE, WARM, GpuEngine
from nws.train.runners.side_by_side import side_by_side
from nws.train.torch_engine import OPTIMIZERS, TorchEngine

SMALL = nws.MAIN.with_(filter_size=[3, 5], width_conv=[1, 2], width_fc=[8, 16], batch_size=[16, 32], dataset=["toy", "tiny"])
HP = SMALL.sample(1)[0].with_(
    dataset="toy", batch_size=16, optimizer="adam", initialization="glorot_normal", activation="relu", augmentation=False
)


def pictures(name: str, n: int, n_test: int, classes: int = 10) -> ImageSet:
    """Pictures whose class is their brightness."""
    rng = np.random.default_rng(n)
    halves = []
    for count in (n, n_test):
        y = np.arange(count) % classes
        x = rng.integers(0, 80, (count, 32, 32, 3)) + 17 * y[:, None, None, None]
        halves += [x.astype(np.uint8), y]
    return ImageSet(name, *halves, tuple("0123456789"[:classes]))


IMAGES = {
    "toy": pictures("toy", 120, 30),
    "tiny": pictures("tiny", 20, 10),  # fewer images than any batch
    "easy": pictures("easy", 120, 30, classes=1),
}
SCHEDULE = Schedule(seed=3, snapshots=3, epochs=2)


class SlowLane(Lane):
    """Whose marks are passed only when they have been asked several times, as on a device that is busy."""

    class Mark:
        def __init__(self, patience: int) -> None:
            self.patience = patience

        def query(self) -> bool:
            self.patience -= 1
            return self.patience < 0

        def synchronize(self) -> None:
            self.patience = 0

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.marks: list[SlowLane.Mark] = []

    def mark(self) -> Mark:
        self.marks.append(self.Mark(self.patience))
        return self.marks[-1]


def on(lane: Lane, **settings):
    """What makes a GPU engine on this lane."""
    return lambda hp, theta, images, seed: GpuEngine(hp, theta, images, seed, lane=lane, **settings)


def assert_equal(a: nws.Net, b: nws.Net) -> None:
    np.testing.assert_array_equal(a.theta, b.theta)
    np.testing.assert_array_equal(a.history, b.history)
    assert (a.number, a.hp, a.status) == (b.number, b.hp, b.status)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums depend on the number of threads; and vanishing numbers are slow unless flushed, as the runners do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("lane", [Lane, RecordedLane])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_its_nets_are_the_torch_engines(optimizer, lane):
    # Even with dropout and augmentation: on the CPU both draw the same numbers, for a batch is no more than a chunk.
    job = Job(1, HP.with_(optimizer=optimizer, augmentation=True))
    ours, theirs = (train_net(job, IMAGES["toy"], make, SCHEDULE) for make in (on(lane()), TorchEngine))
    np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.history, theirs.history)
    assert not np.array_equal(ours.theta[0], ours.theta[-1])
    assert (ours.about["engine"], theirs.about["engine"]) == ("gpu", "torch")


@pytest.mark.parametrize("hp", SMALL.sample(5, seed=5), ids=lambda hp: f"{hp.dataset}-{hp.optimizer}-{hp.batch_size}")
def test_a_captured_step_repeats_itself_for_any_net(hp):
    lane = RecordedLane()
    images = IMAGES[hp.dataset]
    captured, plain = (train_net(Job(0, hp), images, on(where, dropout=0.3), SCHEDULE) for where in (lane, Lane()))
    np.testing.assert_allclose(captured.theta, plain.theta, rtol=1e-4, atol=1e-5)
    steps = int(captured.history[-1, 0])
    assert (lane.captures, lane.replays) == (int(steps > WARM), max(0, steps - WARM))


def test_nothing_is_frozen_in_a_captured_step():
    """Fifty captured steps at two learning rates, their batches changing, against the torch engine's."""
    theta = cnn.initialize(HP, np.random.default_rng(0))
    lane = RecordedLane()
    engines = [GpuEngine(HP, theta, IMAGES["toy"], 7, lane=lane), TorchEngine(HP, theta, IMAGES["toy"], 7)]
    losses = []
    for engine in engines:
        rng = np.random.default_rng(1)
        for rate in (1e-3, 5e-4):
            loss = engine.train(rng.permutation(120)[:112].reshape(7, 16), rate)
            for mark in engine.finish():
                mark.synchronize()
            losses.append(float(loss))
    np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-5)
    assert lane.captures == 1
    thetas = [engines[0].theta(), engines[1].theta()]
    list(engines[0].finish())
    np.testing.assert_allclose(*thetas, rtol=1e-4, atol=1e-6)


def test_a_forbidden_operation_is_noticed():
    class Waiting(GpuEngine):
        def _next_step(self):
            super()._next_step()
            self._total.item()

    theta = cnn.initialize(HP, np.random.default_rng(0))
    engine = Waiting(HP, theta, IMAGES["toy"], 7, lane=RecordedLane())
    engine.train(np.arange(96).reshape(6, 16), 1e-3)
    with pytest.raises(AssertionError, match="waits for the device"):
        list(engine.finish())


def test_batches_of_another_shape_are_captured_anew():
    lane = RecordedLane()
    engine = GpuEngine(HP, cnn.initialize(HP, np.random.default_rng(0)), IMAGES["toy"], 7, lane=lane)
    for shape in ((5, 16), (5, 16), (4, 20)):
        engine.train(np.arange(np.prod(shape)).reshape(shape), 1e-3)
        list(engine.finish())
    assert lane.captures == 2


def test_answers_are_there_after_finish_and_not_before():
    engine = GpuEngine(HP, cnn.initialize(HP, np.random.default_rng(0)), IMAGES["toy"], 7, lane=Lane())
    loss, accuracy = engine.train(np.arange(112).reshape(7, 16), 1e-3), engine.accuracy("test")
    assert float(loss) == float(accuracy) == 0.0
    list(engine.finish())
    assert float(loss) > 1.0
    assert 0.0 <= float(accuracy) <= 1.0


def test_work_is_queued_in_short_pieces():
    """The device is never more than two pieces ahead of the host."""
    lane = SlowLane(patience=10**9)
    engine = GpuEngine(HP, cnn.initialize(HP, np.random.default_rng(0)), IMAGES["toy"], 7, lane=lane)
    engine.train(np.zeros((5 * PIECE, 4), np.int64), 1e-3)
    steps = []
    for mark in engine.finish():
        steps.append(int(engine._next))
        assert mark is lane.marks[len(steps) - 1]
    assert steps == [2 * PIECE, 3 * PIECE, 4 * PIECE, 5 * PIECE, 5 * PIECE]


@pytest.mark.parametrize("lanes", [1, 3, 7])
def test_company_changes_nothing(lanes):
    """Mixed architectures, batch sizes and image sets; more jobs than lanes, so that lanes are filled again; and idle lanes."""
    jobs = [Job(i, hp) for i, hp in enumerate(SMALL.sample(6, seed=1))]
    assert len({job.hp.dataset for job in jobs}) == len({job.hp.batch_size for job in jobs}) == 2
    said: list[Progress] = []
    places = [SlowLane(patience) for patience in range(lanes)]
    nets = {net.number: net for net in side_by_side(jobs[::-1], IMAGES, SCHEDULE, places, said.append)}
    assert sorted(nets) == list(range(6))
    for job in jobs:
        assert_equal(nets[job.number], train_net(job, IMAGES[job.hp.dataset], on(Lane()), SCHEDULE))
    assert len(said) == 6 * 3
    if lanes == 3:  # the nets took turns
        assert [p.number for p in said] != sorted((p.number for p in said), reverse=True)
        assert all(place.marks for place in places)


def test_nets_end_when_they_are_done_not_when_their_company_is(monkeypatch):
    """One diverges at once, one stops early, one trains to the end: each frees its lane."""
    from nws.train import loop

    class Impatient(loop.EarlyStopping):
        def update(self, accuracy: float) -> bool:
            return super().update(accuracy) or accuracy == 1.0

    monkeypatch.setattr(loop, "EarlyStopping", Impatient)
    exploding = HP.with_(optimizer="momentum", initialization="normal", learning_rate=1e30)
    jobs = [
        Job(0, HP.with_(learning_rate=1e-5)),
        Job(1, exploding),
        Job(2, HP.with_(dataset="easy", learning_rate=0.005)),
        Job(3, exploding),
    ]
    schedule = Schedule(seed=1, snapshots=2, epochs=8)
    nets = {net.number: net for net in side_by_side(jobs, IMAGES, schedule, [Lane(), Lane()])}
    assert [nets[n].status for n in range(4)] == ["ok", "diverged", "ok", "diverged"]
    lengths = [len(nets[n].history) for n in range(4)]
    assert lengths[0] == 9
    assert max(lengths[1:]) < 9
    for job in jobs:
        assert_equal(nets[job.number], train_net(job, IMAGES[job.hp.dataset], on(Lane()), schedule))


def test_closing_the_iterator_leaves_nothing_behind():
    before = torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()
    nets = side_by_side([Job(i, HP) for i in range(4)], IMAGES, SCHEDULE, [Lane(), Lane()])
    next(nets)
    assert torch.backends.cudnn.deterministic
    nets.close()
    assert (torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()) == before


def test_no_jobs_no_nets():
    assert list(side_by_side([], IMAGES, SCHEDULE, [])) == []


def test_too_little_memory_is_one_line():
    class Full(Lane):
        def landing(self, size):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    with pytest.raises(NwsError, match=r"too small for 2 nets at once: use fewer --workers .CUDA out of memory"):
        list(side_by_side([Job(0, HP)], IMAGES, SCHEDULE, [Full(), Full()]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so():
    with pytest.raises(NwsError, match=r"engine gpu: .*CUDA.* use --engine auto"):
        next(train([Job(0, HP)], IMAGES, engine="gpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_company_changes_nothing():
    """Bit for bit, dropout and augmentation on; and near the CPU's net with both off."""
    jobs = [Job(i, hp) for i, hp in enumerate(SMALL.sample(9, seed=1))]
    together = {net.number: net for net in train(jobs, IMAGES, SCHEDULE, engine="gpu", workers=4)}
    alone = {net.number: net for net in train(jobs[::-1], IMAGES, SCHEDULE, engine="gpu", workers=1)}
    for number, net in together.items():
        assert_equal(net, alone[number])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_a_gpu_steps_are_the_torch_engines(optimizer):
    from nws.device import CudaLane, exact

    theta = cnn.initialize(HP, np.random.default_rng(0))
    batches = np.random.default_rng(1).permutation(120)[:112].reshape(7, 16)
    hp = HP.with_(optimizer=optimizer)
    with exact():
        engine = GpuEngine(hp, theta, IMAGES["toy"], 7, dropout=0.0, lane=CudaLane())
        engine.train(batches, 1e-4)
        ours = engine.theta()
        for mark in engine.finish():
            mark.synchronize()
    theirs = TorchEngine(hp, theta, IMAGES["toy"], 7, dropout=0.0)
    theirs.train(batches, 1e-4)
    moved = np.abs(theirs.theta() - theta).max()
    np.testing.assert_allclose(ours, theirs.theta(), atol=0.02 * moved)
