"""The engines by name. Each says itself what it cannot train; nothing heavy is imported before it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np

from nws.errors import NwsError, unknown
from nws.families.space import Config
from nws.images import ImageSet
from nws.train.loop import Engine

_MADE_BY: Mapping[str, str] = {
    "native": "nws.train.native_engine:NativeEngine",
    "torch": "nws.train.torch_engine:TorchEngine",
    "gpu": "nws.train.gpu_engine:GpuEngine",
}
ENGINES = ("auto", *_MADE_BY)
ANY_NET = ("auto", "torch")  # these train whatever has a module, so that PyTorch need not be imported to ask them


def kind(name: str) -> type[Engine]:
    """The class of an engine; NwsError when there is none of this name."""
    if name not in _MADE_BY:
        raise unknown("engine", name, ENGINES)
    module, _, attribute = _MADE_BY[name].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found


def check(name: str) -> None:
    """NwsError with the cure when the engine is unknown or cannot run on this machine."""
    if name not in ANY_NET and (reason := kind(name).why_not()):
        raise NwsError(f"{reason}, or use --engine {'torch' if name == 'native' else 'auto'}")


def why_not(name: str, hp: Config) -> str | None:
    """Why the engine cannot train this net on any images, in one line; None when it can."""
    if hp.family.train_many is not None:
        return hp.family.why_no_engine(name, hp)
    if hp.family.train is not None:
        return None if name == "auto" else f"nets of {hp.family.name} bring their own training: use --engine auto"
    if missing := [needed for needed in ("learning_rate", "batch_size") if needed not in hp]:
        return f"{hp.family.name} has no {' and no '.join(missing)}, which the built-in loop needs: add them, or write `train`"
    if name not in ANY_NET and (reason := kind(name).why_not(hp)):
        return f"{reason}: use --engine auto"
    return None


def chosen(name: str, hp: Config, images: ImageSet) -> str:
    """The engine that "auto" stands for: the native one for every net it can train, else torch.

    "auto" never takes the GPU: it cannot know how busy that is, and the engine of a zoo should not depend on where it is resumed.
    """
    if name != "auto":
        return name
    return "torch" if kind("native").why_not(hp, images) else "native"


def make(name: str, hp: Config, theta: np.ndarray, images: ImageSet, seed: int) -> Engine:
    """The engine of one net; `functools.partial(make, name)` is what the loop takes."""
    return kind(chosen(name, hp, images))(hp, theta, images, seed)
