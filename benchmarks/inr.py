"""Fitting implicit representations: the native fitter against batched PyTorch and against a usual loop over nets.

    python benchmarks/inr.py [--nets 64] [--steps 100] [--repeats 3] > rows.json

2-32-32-1 sine nets on pictures of 28 x 28 pixels (smooth noise: no files are needed), full batch, Adam. The three take turns
in one process of one thread, and processor time counts, so that ratios hold on a busy machine; the best of the repeats stands. JSON
rows: ms per net and step, ratio to the native fitter, and for a target of 35 dB nets per hour of one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from nws import __version__
from nws.families import SIREN
from nws.fitting import Fitted, Problem, fit
from nws.images import ImageSet


def problem(nets: int, steps: int, psnr: float = 0.0) -> Problem:
    """Nets of the family's usual space on pictures of their own."""
    rng = np.random.default_rng(0)
    frequencies = rng.normal(0, 1, (nets, 8, 8))
    waves = np.cos(np.pi * np.outer(np.arange(28) + 0.5, np.arange(8)) / 28) / (1 + np.arange(8))
    pictures = np.einsum("ri,nij,cj->nrc", waves, frequencies, waves)
    low, high = pictures.min((1, 2), keepdims=True), pictures.max((1, 2), keepdims=True)
    pixels = np.round(255 * (pictures - low) / (high - low)).astype(np.uint8)[..., None]
    labels = np.zeros(nets, np.int64)
    images = ImageSet("waves", pixels, labels, pixels[:1], labels[:1], ("wave",))
    space = SIREN.spaces["main"].with_(steps=steps, target_psnr=psnr)
    configs = [SIREN.for_net(space.net(0, n), images, n) for n in range(nets)]
    return SIREN.problem(configs, images, [np.random.default_rng([0, n]) for n in range(nets)], 1)


def usual_loop(given: Problem) -> Fitted:
    """One net after another: a module, an optimizer, a step per pass, as fitting scripts are written."""
    config = SIREN.spaces["main"].net(0, 0)
    points, thetas, losses = torch.from_numpy(given.points), [], []
    for n, theta in enumerate(given.theta):
        net = SIREN.module(config)
        net.load_state_dict({k: torch.from_numpy(v) for k, v in SIREN.layout(config).state_dict(theta).items()})
        target = torch.from_numpy(given.target[n])
        optimizer = torch.optim.Adam(net.parameters(), float(given.learning_rate[n]))
        for _ in range(int(given.records[n, -1])):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(points), target)
            loss.backward()
            optimizer.step()
        thetas.append(SIREN.layout(config).from_state_dict({k: v.numpy() for k, v in net.state_dict().items()}))
        losses.append(float(torch.nn.functional.mse_loss(net(points), target).detach()))
    return Fitted(np.stack(thetas)[:, None], np.array(losses)[:, None], given.records)


def seconds(work: Callable[[], Fitted]) -> tuple[float, Fitted]:
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole = problem(given.nets, given.steps)
    few = replace(whole, **{name: getattr(whole, name)[:8] for name in ("theta", "target", "learning_rate", "records")})
    ways = {
        "native": (whole, lambda: fit(whole, "native")),
        "batched PyTorch": (whole, lambda: fit(whole, "torch")),
        "usual loop": (few, lambda: usual_loop(few)),
    }
    best: dict[str, float] = {}
    for _ in range(given.repeats):
        for name, (which, work) in ways.items():
            spent, found = seconds(work)
            best[name] = min(best.get(name, np.inf), 1000 * spent / len(which.theta) / given.steps)
            print(f"{name}: {best[name]:.3f} ms per net and step, mean loss {found.loss[:8].mean():.2e}", file=sys.stderr)
    about = {
        "nets": given.nets,
        "steps": given.steps,
        "version": __version__,
        "machine": platform.processor() or platform.machine(),
    }
    rows = [{"what": name, "ms_per_net_step": ms, "ratio_to_native": ms / best["native"], **about} for name, ms in best.items()]
    goal = problem(256, 1000, 35.0)
    spent, found = seconds(lambda: fit(goal, "native"))
    rows.append({"what": "native, to 35 dB", "nets_per_core_hour": 3600 * 256 / spent, "steps": float(found.steps.mean())})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
