"""Which nets a file holds: actor and critic, generator and discriminator, a moving average beside the net itself.

Nets are told apart by words in names (docs/import.md has the list), and by being whole state dicts of one shape beside each other.
An encoder and a decoder are two parts of one net.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from nws.errors import NwsError
from nws.recorded import printable

# Words that name a net of several -> the name of its kind. A word counts as a whole: "policy" in policy_net, not in policies.
NETS = {
    **dict.fromkeys(("actor", "policy", "pi", "action"), "actor"),
    **dict.fromkeys(("critic", "value", "vf", "qf", "qnet", "qf0", "qf1", "qf2", "q1", "q2"), "critic"),
    **dict.fromkeys(("generator", "gen", "netg"), "generator"),
    **dict.fromkeys(("discriminator", "disc", "dis", "netd"), "discriminator"),
    "teacher": "teacher", "student": "student",
}  # fmt: skip
# Letters that mean a net where the rest of the name says no more than "net" or "model": D, netG, G_A, model_E, q_net.
_LETTERS = {"g": "generator", "d": "discriminator", "e": "encoder", "q": "critic", "v": "critic"}
COPIES = ("ema", "target", "tgt", "avg", "average", "averaged", "swa", "shadow", "old", "best", "slow")
# Words that say no more than that weights follow.
WRAPPERS = (
    "state",
    "dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "weight",
    "params",
    "parameters",
    "module",
    "ckpt",
    "sd",
)
_STD = ("std", "logstd")  # how widely an actor's actions scatter: a vector of its own beside the layers


@dataclass(frozen=True)
class Net:
    """One net of a file.

    name      what `--net` takes; "" for the only one
    tensors   name -> tensor or array, with a shape
    aside     why it is not asked for: "a copy of model", "a part of the whole"; "" for a net by itself
    """

    name: str
    tensors: Mapping[str, Any]
    aside: str = ""

    @property
    def weights(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors.values())

    def __str__(self) -> str:
        aside = f", {self.aside}" if self.aside else ""
        return f"{self.name or 'the net itself'} ({len(self.tensors)} tensors, {self.weights:,} weights{aside})"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"name": self.name, "tensors": len(self.tensors), "weights": self.weights, "aside": self.aside}


def words(name: str) -> list[str]:
    """A name's words, in lower case: "netG_A.state_dict" is net, g, a, state, dict."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def kind(name: str) -> str:
    """Which net a name speaks of ("actor", "generator" ...); "" when of none."""
    parts = words(name)
    for word in parts:
        if word in NETS or word.rstrip("0123456789") in NETS:
            return NETS.get(word) or NETS[word.rstrip("0123456789")]
    plain = [word for word in parts if word not in ("net", "network", "model", "state", "dict")]
    wrapped = len(plain) < len(parts) or name[:1].isupper()
    return _LETTERS[plain[0]] if plain and wrapped and plain[0] in _LETTERS and all(word in "ab" for word in plain[1:]) else ""


def is_copy(name: str) -> bool:
    """Whether a name says: a second version of what lies beside it."""
    return bool(set(words(name)) & set(COPIES))


def told_apart(tensors: Mapping[str, Any]) -> list[Net]:
    """The nets of one state dict by the first two words of its tensors' names; a single one, nameless, where it is one net."""
    groups: dict[str, dict[str, Any]] = {}
    layers = {part for name in tensors for part in re.split(r"[./]", name)[:2]}
    for name, tensor in tensors.items():
        groups.setdefault(_group(name, layers), {})[name] = tensor
    copies = originals(groups)
    aside = [Net(group, groups[group], f"a copy of {of or 'the net itself'}") for group, of in copies.items()]
    kinds = {group: kind(group) for group in groups if group not in copies}
    rest = {name: t for group, held in groups.items() if not kinds.get(group, "-") for name, t in held.items()}
    parts = _by_kind({group: groups[group] for group in kinds if kinds[group]}, kinds)
    copied = {name for copy in aside for name in copy.tensors}
    whole = {name: t for name, t in tensors.items() if name not in copied}
    opposed = "discriminator" in kinds.values()  # never a part of what it judges
    if len(parts) < 2 and not (opposed and matrices(rest)):
        alone = next(iter(parts)) if aside and len(parts) == 1 and not matrices(rest) else ""
        return [Net(alone, whole), *aside]
    if matrices(rest) and not opposed:  # heads on a trunk that they share: one net
        return [Net("", whole), *(Net(name, held, "a part of the whole") for name, held in parts.items()), *aside]
    if matrices(rest):
        parts = {"rest": rest, **parts}
    else:
        actor = next((group for group in parts if kind(group) == "actor"), "")
        loose = {name: t for name, t in rest.items() if actor and set(words(name)) & set(_STD)}
        parts = {group: {**loose, **held} if group == actor else held for group, held in parts.items()}
    return [*(Net(name, held) for name, held in parts.items()), *aside]


def _by_kind(named: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """policy_net and action_net are one actor; two generators (G_A, G_B) stay two, and so do two critics (qf0, qf1)."""
    alike: dict[str, list[str]] = {}
    for group in named:
        alike.setdefault(kinds[group], []).append(group)
    found: dict[str, dict[str, Any]] = {}
    for word, members in alike.items():
        apart = len(members) == 1 or len({(_stem(group), matrices(named[group])) for group in members}) == 1
        for group in members:
            found.setdefault(group if apart else word, {}).update(named[group])
    return found


def _stem(name: str) -> tuple[str, ...]:
    """A name without the numbers and letters that tell twins apart: of G_A and G_B, qf0 and qf1."""
    return tuple(word for word in (w.rstrip("0123456789") for w in words(name)) if len(word) > 1)


def _group(name: str, layers: set[str]) -> str:
    """The beginning of a tensor's name that may name its net: up to the first word of a net or of a copy among the first two.

    layers: these words of all names; beside a query, a value is a layer of attention.
    """
    parts = re.split(r"[./]", name)[:-1][:2]
    for k, part in enumerate(parts):
        if "value" in words(part) and part.replace("value", "query") in layers:
            continue
        if kind(part) or is_copy(part):
            return ".".join(parts[: k + 1])
    return ""


def originals(nets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """name -> what it is a copy of: by its name, and because another net has the same layers."""
    alike: dict[Any, list[str]] = {}
    for name, tensors in nets.items():
        if not is_copy(name):
            alike.setdefault(matrices(tensors), []).append(name)
    found = {}
    for name, tensors in nets.items():
        shapes = matrices(tensors) if is_copy(name) else ()
        parts = set(words(name)) - set(COPIES)
        if shapes and shapes in alike:
            found[name] = max(alike[shapes][:100], key=lambda other: len(parts & set(words(other))))
    return found


def matrices(tensors: Mapping[str, Any]) -> tuple[Any, ...]:
    """The shapes of the matrices and convolutions, sorted: a moving average leaves out what is no parameter."""
    return tuple(sorted(tuple(t.shape) for t in tensors.values() if len(t.shape) > 1))


def chosen(nets: Sequence[Net], name: str | None) -> tuple[Net, tuple[str, ...]]:
    """The net to read, and a note on what else there is. NwsError, one line with all of them, when that is not clear."""
    listed = ", ".join(printable(net) for net in nets[:12]) + (f" and {len(nets) - 12} more" if len(nets) > 12 else "")
    if name:
        found = [net for net in nets if net.name == name]
        if not found:
            own = [net for net in nets if net.name]
            raise NwsError(
                f"holds no net {printable(name)!r}: " + (f"use one of {listed}" if own else "it holds one net, leave out --net")
            )
        others = [net.name or "the net itself" for net in nets if net.name != name]
        note = f"the net {printable(name)} was chosen; the file also holds {', '.join(map(printable, others[:12]))}"
        return found[0], (note,) if others else ()
    main = [net for net in nets if not net.aside]
    if len(main) > 1:
        raise NwsError(f"holds {len(main)} nets: {listed}: choose one with --net {printable(main[0].name)}")
    aside = [net for net in nets if net.aside]
    if not aside:
        return main[0], ()
    return main[0], (f"it also holds {', '.join(map(printable, aside[:6]))}: --net {printable(aside[0].name)} reads that instead",)
