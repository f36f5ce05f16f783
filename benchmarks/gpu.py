"""How fast one GPU trains nets and deep meta-classifiers: JSON rows, one a line, as they come.

    python benchmarks/gpu.py > rows.json            at most 8 minutes; Python 3.11, torch, scikit-learn, safetensors, pandas
    python benchmarks/gpu.py --quick --device cpu   seconds, on any machine: does it run?

Every part is a process of its own with a share of the time: one that fails or hangs leaves the others alone. A row with "error" or
"skipped" says what was not measured. Images and weight vectors are noise of the right size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

IMAGES, EPOCHS, NETS = 50_000, 20, 16_000  # what is extrapolated to: a net's images and epochs, a zoo's nets
STREAMS = (16, 32, 1, 8, 64, 4, 2)  # the ones that matter most first
# The paper's trainings, of which 3/4 of the nets are learnt from, as here: (nets, snapshots of each, epochs), batch 64. Local: the
# main set, 500 epochs of the last 2 snapshots; global: the fixed set, 100 epochs of the last 4. It took 120 and 70 minutes.
PAPER = {"local": (8035, 2, 500, 120), "global": (1758, 4, 100, 70)}
MIXTURE_STREAMS, PLAIN_STREAMS = 32, 4

Row = dict[str, Any]


class Sizes:
    """What differs between a measurement and a try."""

    def __init__(self, quick: bool, chip: str):
        self.chip = chip
        self.pictures, self.tests = (160, 40) if quick else (20_000, 4_000)  # of an epoch; the ratio is CIFAR-10's
        self.epochs, self.nets_per_stream = (3, 1) if quick else (1000, 4)  # where the time does not end it before
        self.streams = (2, 1) if quick else STREAMS
        self.matrix = 256 if quick else 8192
        self.steps = 6 if quick else 60  # of the check
        self.dmc_batch, self.dmc_steps, self.vectors = (2, 3, 4) if quick else (64, 5000, 256)
        self.slices = {"local": 100 if quick else 5000, "global": 40_001 if quick else 92_868}


class Enough(Exception):  # noqa: N818 (no error)
    """The time is over."""


# The parts. Each yields its rows; seconds is what it may take.


def check(sizes: Sizes, seconds: float) -> Iterator[Row]:
    """Are the nets right? Cheap, and first: figures of wrong nets are worth nothing."""
    import numpy as np

    from nws import device
    from nws.bench.subject import FIXED, random_pictures
    from nws.families import cnn2020 as cnn
    from nws.train.gpu_engine import GpuEngine
    from nws.train.torch_engine import TorchEngine

    images = random_pictures(512)
    # Momentum, because Adam makes whole steps of rounding errors where the gradient is 0 (biases before a batch norm).
    hp = FIXED.with_(learning_rate=1e-3, optimizer="momentum")
    noisy = FIXED.with_(augmentation=True)
    start = cnn.initialize(hp, np.random.default_rng(0))
    batches = np.random.default_rng(1).integers(0, 512, (sizes.steps, 64))

    def gpu(hp: Any, captured: bool = True, dropout: float = 0.0) -> Any:
        return GpuEngine(hp, start, images, 7, dropout=dropout, lane=lane(sizes, captured))

    def compared(a: np.ndarray, b: np.ndarray) -> Row:
        apart = float(np.linalg.norm(a - b) / np.linalg.norm(a - start))
        return {"difference_by_change": apart, "right": apart < 1e-3}

    with device.exact():
        plain = TorchEngine(hp, start, images, 7, dropout=0.0)
        plain.train(batches[:10], hp.learning_rate)
        ours, eager = trained([gpu(hp)], batches[:10])[0], trained([gpu(hp, captured=False)], batches[:10])[0]
        yield {"what": "10 captured steps against the CPU's torch engine", **compared(plain.theta(), ours)}
        yield {"what": "10 captured steps against uncaptured ones", **compared(eager, ours)}
        alone = trained([gpu(noisy, dropout=0.5)], batches)[0]
        company = trained([gpu(noisy, dropout=0.5), gpu(hp), gpu(noisy, dropout=0.5)], batches)
        same = all(np.array_equal(alone, company[k]) for k in (0, 2))
        yield {"what": "a net with dropout and augmentation is the same in company, bit for bit", "right": same}
        yield queueing(gpu(hp), batches)


def trained(engines: list[Any], batches: Any) -> list[Any]:
    """Their thetas after these steps, done side by side."""
    for engine in engines:
        engine.train(batches, 1e-3)
    thetas = [engine.theta() for engine in engines]
    for marks in zip_longest(*(engine.finish() for engine in engines)):  # by turns
        for mark in filter(None, marks):
            mark.synchronize()
    return thetas


def queueing(engine: Any, batches: Any) -> Row:
    """What a captured step costs the host: one thread can feed so many steps a second to all nets together."""
    trained([engine], batches)
    engine.train(batches, 1e-3)
    engine._asked.clear()
    started = time.perf_counter()
    with engine._lane.working():
        engine._steps(len(batches))
    took = time.perf_counter() - started
    for mark in engine.finish():
        mark.synchronize()
    return {"what": "host time to queue a step", "microseconds": round(1e6 * took / len(batches), 1)}


def streams(sizes: Sizes, seconds: float) -> Iterator[Row]:
    """Nets an hour, the fixed net, by streams."""
    from nws.bench.subject import FIXED

    rate = warm_up(sizes)
    yield {"what": "float32 matrix product, TF32 off", "tflops": round(rate / 1e12, 2)}
    ends = time.perf_counter() + seconds
    for k, n in enumerate(sizes.streams):
        share = (ends - time.perf_counter()) / (len(sizes.streams) - k)
        yield from tried(f"fixed net, {n} streams", lambda n=n, share=share: nets_per_hour([FIXED], n, share, sizes, rate))


def mixture(sizes: Sizes, seconds: float) -> Iterator[Row]:
    """Nets an hour of the main space; and of the fixed net with augmentation."""
    from nws import MAIN
    from nws.bench.subject import FIXED

    n = min(MIXTURE_STREAMS, max(sizes.streams))
    rate = warm_up(sizes)
    augmented = [FIXED.with_(augmentation=True)]
    mixed = MAIN.with_(dataset="noise").sample(4 * n, seed=0)
    for name, hps, share in (("fixed net with augmentation", augmented, 0.3), ("nets of the main space", mixed, 0.7)):
        yield from tried(f"{name}, {n} streams", lambda hps=hps, share=share: nets_per_hour(hps, n, share * seconds, sizes, rate))


def uncaptured(sizes: Sizes, seconds: float) -> Iterator[Row]:
    """What capturing is worth; and figures, should it fail."""
    from nws.bench.subject import FIXED

    n = min(PLAIN_STREAMS, max(sizes.streams))
    rate = warm_up(sizes)
    yield from tried(
        f"fixed net, {n} streams, steps not captured",
        lambda: nets_per_hour([FIXED], n, seconds, sizes, rate, captured=False),
    )


def dmc(kind: str) -> Callable[[Sizes, float], Iterator[Row]]:
    def part(sizes: Sizes, seconds: float) -> Iterator[Row]:
        import torch

        started = time.perf_counter()
        # Without the cache, which would keep the first step's weights for as long as the context lasts.
        half = torch.autocast(sizes.chip, torch.bfloat16, cache_enabled=False)
        contexts = {"float32": contextlib.nullcontext(), "bfloat16 autocast": half}
        for k, (name, context) in enumerate(contexts.items()):
            left = seconds - (time.perf_counter() - started)

            def measure(name: str = name, context: Any = context, share: float = left / (2 - k)) -> Row:
                with context:
                    return {"arithmetic": name, **dmc_rate(kind, share, sizes)}

            yield from tried(f"{kind} DMC, {name}", measure)

    return part


PARTS: dict[str, tuple[Callable[[Sizes, float], Iterator[Row]], float]] = {  # name -> (part, share of the time)
    "check": (check, 0.08),
    "streams": (streams, 0.42),
    "mixture": (mixture, 0.16),
    "uncaptured": (uncaptured, 0.08),
    "local DMC": (dmc("local"), 0.12),
    "global DMC": (dmc("global"), 0.12),
}


# Measuring


def lane(sizes: Sizes, captured: bool = True) -> Any:
    from nws.device import CudaLane, Lane

    class Uncaptured(CudaLane):
        capture = Lane.capture

    if sizes.chip == "cpu":
        return Lane()
    return CudaLane() if captured else Uncaptured()


def warm_up(sizes: Sizes) -> float:
    """Have the libraries load what a net needs, and return the rate of `product_rate`."""
    from nws.bench.subject import FIXED

    trial = Sizes(quick=True, chip=sizes.chip)
    with contextlib.suppress(Exception):  # what is wrong will be said where it is measured
        nets_per_hour([FIXED], 1, 30, trial, 1.0)
    return product_rate(sizes)


def product_rate(sizes: Sizes) -> float:
    """Operations a second of a large float32 matrix product."""
    import torch

    from nws import device

    a, b = torch.rand(2, sizes.matrix, sizes.matrix, device=sizes.chip)
    best = 0.0
    with device.exact():
        for _ in range(4):  # the first one warms up
            device.wait(a.device)
            started = time.perf_counter()
            for _ in range(4):
                a @ b
            device.wait(a.device)
            best = max(best, 4 * 2 * sizes.matrix**3 / (time.perf_counter() - started))
    return best


def nets_per_hour(hps: list[Any], n: int, seconds: float, sizes: Sizes, rate: float, captured: bool = True) -> Row:
    """Train n nets side by side for so long. Each net's speed counts from the end of its first epoch, in which it was captured."""
    import numpy as np

    from nws.bench.subject import operations, random_pictures
    from nws.train import Job, Progress, Schedule
    from nws.train.runners.side_by_side import side_by_side

    images = random_pictures(sizes.pictures, sizes.tests)
    jobs = [Job(i, hps[i % len(hps)]) for i in range(sizes.nets_per_stream * n)]
    said: dict[int, list[tuple[float, int]]] = defaultdict(list)  # net -> (time, images) after each epoch
    started = time.perf_counter()

    def on_progress(progress: Progress) -> None:
        now = time.perf_counter()
        said[progress.number].append((now, progress.images))
        if now - started > seconds:
            raise Enough

    lanes = [lane(sizes, captured) for _ in range(n)]
    with contextlib.suppress(Enough):
        for _ in side_by_side(jobs, {"noise": images}, Schedule(epochs=sizes.epochs), lanes, on_progress):
            pass
    took = time.perf_counter() - started
    measured = {number: epochs for number, epochs in said.items() if len(epochs) > 2}
    if not measured:
        raise TimeoutError(f"no net trained two epochs of {sizes.pictures} images in {took:.0f} s")
    speed = {i: sum(k for _, k in epochs[2:]) / (epochs[-1][0] - epochs[1][0]) for i, epochs in measured.items()}
    first = {i: epochs[1][0] - started for i, epochs in measured.items() if i < n}
    # What a net costs before it runs: of n started together, what the first epochs took longer than later ones.
    extra = [t - said[i][1][1] / speed[i] for i, t in first.items()]
    start = max(0.0, float(np.mean(extra))) / n if extra else 0.0
    each = float(np.mean([0.9 * IMAGES * EPOCHS / s for s in speed.values()])) / n + start
    work = float(np.sum([s * operations(jobs[i].hp) for i, s in speed.items()])) * n / len(speed)
    return {
        "streams": n,
        "nets_per_hour": round(3600 / each, 1),
        f"hours_for_{NETS}_nets": round(NETS * each / 3600, 2),
        "images_per_s": round(float(np.mean(list(speed.values()))) * n),
        "share_of_float32": round(work / rate, 4),
        "start_s_per_net": round(start, 3),
        "measured_s": round(took, 1),
        "nets_measured": len(measured),
        "extrapolated": f"from epochs of {sizes.pictures} images with evaluation to {EPOCHS} of {IMAGES}; without writing files",
    }


def dmc_rate(kind: str, seconds: float, sizes: Sizes) -> Row:
    """Steps a second of DMC.fit, drawing the slices included."""
    import numpy as np

    from nws.meta.dmc import DMC

    nets, snapshots, epochs, minutes = PAPER[kind]
    steps = int(nets * 0.75 * snapshots / 64 * epochs)
    length = sizes.slices[kind]
    vectors = np.random.default_rng(0).standard_normal((sizes.vectors, max(length, 93_000)), dtype=np.float32)
    vectors = vectors[:, : length if kind == "global" else None]
    times = [time.perf_counter()]

    def progress(step: int, of: int, loss: float) -> None:
        times.append(time.perf_counter())
        if times[-1] - times[0] > seconds:
            raise Enough

    model = DMC(slice_length=length, batch_size=sizes.dmc_batch, epochs=10**6, max_steps=sizes.dmc_steps)
    with contextlib.suppress(Enough):
        model.fit(vectors, np.arange(len(vectors)) % 4, progress)
    skipped = min(20, len(times) // 2)  # while libraries load kernels
    if len(times) - skipped < 2:
        raise TimeoutError(f"{len(times) - 1} steps in {seconds:.0f} s")
    rate = (len(times) - 1 - skipped) / (times[-1] - times[skipped])
    return {
        "steps_per_s": round(rate, 2),
        "minutes_for_the_paper": round(steps / rate / 60, 1),
        "paper_minutes_gtx_1080_ti": minutes,
        "assumed": f"{steps} steps: 3/4 of {nets} nets x {snapshots} snapshots / batch 64 x {epochs} epochs",
        "slice": length,
        "batch": sizes.dmc_batch,
        "measured_steps": len(times) - 1 - skipped,
    }


def tried(what: str, measure: Callable[[], Row]) -> Iterator[Row]:
    """The row, or one with the error: the rest goes on."""
    try:
        yield {"what": what, **measure()}
    except Exception as error:
        yield {"what": what, "error": f"{type(error).__name__}: {error}".strip()[:600]}


# Running the parts


def about(sizes: Sizes) -> Row:
    import torch

    from nws import device

    try:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        commit = ""
    chip = device.name(torch.device(sizes.chip))
    trial = {"trial": "small sizes: no figures"} if sizes.epochs == 3 else {}
    return {"chip": chip, "cuda": torch.version.cuda, "torch": torch.__version__, "commit": commit, **trial}


def show(row: Row) -> None:
    print(json.dumps(row), flush=True)


def run_here(name: str, seconds: float, sizes: Sizes) -> None:
    """One part, in this process."""
    started = time.perf_counter()
    try:
        same = about(sizes)
        for row in PARTS[name][0](sizes, seconds - (time.perf_counter() - started)):
            show({"part": name, **row, **same})
    except Exception as error:
        show({"part": name, "what": name, "error": f"{type(error).__name__}: {error}".strip()[:600]})


def run_apart(name: str, seconds: float, flags: list[str]) -> None:
    """One part in a process of its own, which is ended when it takes longer."""
    command = [sys.executable, str(Path(__file__)), "--part", name, "--seconds", str(seconds - 12), *flags]
    try:
        done = subprocess.run(command, timeout=seconds, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    except subprocess.TimeoutExpired:
        show({"part": name, "what": name, "error": f"not done after {seconds:.0f} s"})
        return
    if done.returncode:
        show({"part": name, "what": name, "error": f"exit code {done.returncode}: {done.stderr[-600:].strip()}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=460, help="seconds for all parts")
    parser.add_argument("--quick", action="store_true", help="small sizes and one process: does it run?")
    parser.add_argument("--part", choices=PARTS, help="only this part, in this process")
    parser.add_argument("--seconds", type=float, default=60, help="for that part")
    options = parser.parse_args()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    flags = ["--device", options.device, *(["--quick"] if options.quick else [])]
    sizes = Sizes(options.quick, options.device)
    if options.part:
        run_here(options.part, options.seconds, sizes)
        return
    if options.device == "cuda":
        from nws.device import why_no_gpu

        if reason := why_no_gpu():
            sys.exit(f"{reason}; or --quick --device cpu")
    started = time.perf_counter()
    for name, (_, share) in PARTS.items():
        seconds = share * options.budget
        left = options.budget - (time.perf_counter() - started)
        if seconds > left + 1:
            show({"part": name, "what": name, "skipped": f"it needs {seconds:.0f} s of the {left:.0f} s that are left"})
        elif options.quick:
            run_here(name, seconds, sizes)
        else:
            run_apart(name, seconds, flags)


if __name__ == "__main__":
    main()
