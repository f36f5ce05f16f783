"""What a family of nets is: the table of what is chosen, where the weights lie, how they start, and what the net computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError, imported, unknown
from nws.families.space import Config, Property, Space
from nws.layout import Layout

if TYPE_CHECKING:
    import torch

    from nws.images import ImageSet

# What the built-in loop measures at each record. Accuracies are fractions of clean images in evaluation mode.
HISTORY = ("step", "train_accuracy", "validation_accuracy", "test_accuracy", "filtered_validation_accuracy")
# Columns of the index that a property cannot have as well.
RESERVED = {
    "net",
    "split",
    "status",
    "converged",
    "snapshots",
    "weights",
    "weights_conv",
    "epochs",
    "seconds",
    "path",
    "bytes",
    "sha256",
}

_ANY = 1 << 53  # beyond every number that a property may be
TOGETHER = 64  # nets of one `train_many`


@dataclass(frozen=True)
class Record:
    """A moment of a training: weights as theta (P,), a module or a state dict, and what was measured then.

    step      training steps so far
    measures  name -> number, of the family's `measures`; one that is absent counts as not measured
    about     JSON values that are kept with the net, in its `about`
    """

    step: int
    weights: Any
    measures: Mapping[str, float]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A net of a `train_many`: its position among the configs, and its records, all of which are kept as snapshots.

    engine  what trained it, for its provenance
    """

    place: int
    records: Sequence[Record]
    engine: str = "own"


class Family:
    """A kind of net. Subclass it, name it, give it `properties`, and write `module`; everything else has a default.

    name        how zoos and the command line call it
    version     raise it when a property is added (with a `default` for the nets before) or the nets otherwise change
    properties  what is chosen before a training, in the order of the columns; `dataset` is one of them. The built-in loop needs
                `learning_rate` and `batch_size` too, and follows `optimizer`, `augmentation`, `weight_decay` and `label_noise`
                where they are there; `nws.families.standard` has them ready
    measures    columns of each net's history, the first being "step"
    snapshots   how many a zoo keeps of each net where nobody says
    original    pictures are wanted as their files have them (28 x 28 grey), not as the paper's nets see them (32 x 32 x 3)
    given       properties that follow from the net's number and the images (`for_net`) instead of being drawn

    >>> class Line(Family):
    ...     name = "line"
    ...     properties = (*standard("dataset", "learning_rate", "batch_size"), Property("width", (4, 8)))
    ...     def module(self, config, generator=None):
    ...         return nn.Sequential(nn.Flatten(), nn.Linear(3072, config.width), nn.ReLU(), nn.Linear(config.width, 10))
    """

    name: str = ""
    version: int = 1
    properties: tuple[Property, ...] = ()
    measures: tuple[str, ...] = HISTORY
    snapshots: int = 20
    original: bool = False
    given: tuple[str, ...] = ()
    per_weight: tuple[str, ...] = ()  # targets with a value for every edge, of `nws.families.masks`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.properties:
            return
        names = [p.name for p in cls.properties]
        if wrong := [name for name in names if name in RESERVED or name in cls.measures or names.count(name) > 1]:
            raise NwsError(f"family {cls.name}: property {wrong[0]} is named twice, or like a column that every zoo has")
        if wrong := [name for name in names if not name.isidentifier()]:
            raise NwsError(f"family {cls.name}: property {wrong[0]!r} is to be an attribute of configs: name it like a variable")
        if "dataset" not in names:
            raise NwsError(f"family {cls.name}: lacks the property dataset: what its nets are trained on, standard('dataset')")
        if not cls.name or not cls.name.isprintable() or cls.measures[:1] != ("step",):
            raise NwsError(f"family {cls.__name__}: give it a printable `name`, and measures that begin with 'step'")

    def __repr__(self) -> str:
        return f"<family {self.name}>"

    # -- what is chosen -------------------------------------------------------------------------------------------------------

    @property
    def spaces(self) -> Mapping[str, Space]:
        """Spaces by name, the usual one first."""
        return {"main": self.space}

    @cached_property
    def space(self) -> Space:
        """All options of all properties."""
        return Space({p.name: p.options for p in self.properties}, self)

    def config(self, values: Mapping[str, Any]) -> Config:
        """The checked config of these values; of an older net's, which lack newer properties, too."""
        return Config(self, values)

    def check(self, config: Config) -> None:
        """NwsError when values that are possible one by one make no sense together."""

    def sample(self, n: int, seed: int = 0) -> list[Any]:
        """n configs of the usual space."""
        return next(iter(self.spaces.values())).sample(n, seed)

    # -- what it is -----------------------------------------------------------------------------------------------------------

    def module(self, config: Any, generator: torch.Generator | None = None) -> torch.nn.Module:
        """The net on pictures (B, channels, rows, columns) in [0, 1] -> (B, classes). Dropout draws from `generator`."""
        raise NotImplementedError(f"family {self.name} has no module(config, generator)")

    def layout(self, config: Any) -> Layout:
        """Where each weight lies in theta; by default in the order of the module's state dict."""
        return _layout_of_module(self, config)

    def init(self, config: Any, rng: np.random.Generator) -> np.ndarray:
        """Initial theta (P,) float32; by default what the module's constructor draws, seeded by `rng`."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            return self.layout(config).from_state_dict(self.module(config).state_dict())

    def domain(self, config: Any) -> tuple[tuple[int, ...], float, float] | None:
        """What one input of a net is, for readers that run it: shape, and the range of its numbers. None: nobody has said so."""
        return None

    # -- what it is trained on ------------------------------------------------------------------------------------------------

    def why_not(self, config: Any, images: ImageSet) -> str | None:
        """Why the net cannot be trained on these images, in one line; None when it can."""
        return None

    def for_images(self, config: Any, images: ImageSet) -> Any:
        """The config as these images need it: the number of classes, for instance."""
        return config

    def for_net(self, config: Any, images: ImageSet, number: int) -> Any:
        """The config of net `number`: as `for_images`, and where each net has an image of its own, with that."""
        return self.for_images(config, images)

    def like(self, config: Any, number: int) -> int:
        """The number whose side of the zoo's split the net is on: another's where two would give each other away (one image)."""
        return number

    def pictures(self, config: Any, images: ImageSet) -> ImageSet:
        """The images as the net sees them: of another size, for instance."""
        return images

    # A family whose training the built-in loop does not fit writes this, a generator of `Record`s, the initialization first.
    # Whatever is random comes from `rng` or from PyTorch's own generator, which is seeded for each net:
    # def train(self, config, images, rng, epochs): ...
    train: Any = None

    # A family whose nets are pictures says how they look: nets theta (N, P) of one config -> (N, rows, columns, channels), 0 to 1.
    # def render(self, config, theta, rows=None, columns=None): ...
    render: Any = None

    # A family that trains many nets as one program (side by side in vector registers, or by batched matrix products) writes this
    # instead: a generator of `Trained`, in any order. A net must depend on its config and its generator `rngs[k]` only, not on the
    # others; the configs are of one image set, at most `together` of them, each with its own generator. `snapshots` records of
    # each net are wanted, or fewer.
    # def train_many(self, configs, images, rngs, snapshots, engine): ...
    train_many: Any = None

    def together(self, config: Any) -> int:
        """Nets of one `train_many`: what a killed run loses, and what a progress bar waits for."""
        return TOGETHER

    def why_no_engine(self, engine: str, config: Any) -> str | None:
        """Of a family with `train_many`: why this engine ("auto", "native", "torch", "gpu") cannot train the net; None: it can."""
        return None if engine == "auto" else f"nets of {self.name} bring their own training: use --engine auto"


@lru_cache(maxsize=512)
def _layout_of_module(family: Family, config: Config) -> Layout:
    import torch

    with torch.random.fork_rng(devices=[]):
        return Layout.of_module(family.module(config))


class StoredFamily(Family):
    """A family as a zoo remembers it: its table, not its code. It cannot make nets, but its zoo can be read."""

    def __init__(self, name: str, version: int, properties: Sequence[Property], measures: Iterable[str]):
        self.name, self.version, self.properties, self.measures = name, version, tuple(properties), tuple(measures)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> StoredFamily:
        """From zoo.json, a stranger's perhaps: ValueError, KeyError or TypeError for what makes no sense, NwsError too."""
        properties = [
            Property(
                str(p["name"]),
                tuple(p["options"]),
                str(p.get("help", ""))[:500],
                continuous=p.get("continuous") is True,
                closed=any(isinstance(option, bool) for option in p["options"]),
                # Whatever its own code allowed: the zoo does not remember the limits.
                minimum=-_ANY,
                maximum=_ANY,
            )
            for p in stored["properties"]
        ]
        measures = [str(m) for m in stored.get("measures", HISTORY)]
        if len(properties) > 256 or len(measures) > 64 or measures[:1] != ["step"]:
            raise ValueError("measures")
        return cls(str(stored["name"])[:200], int(stored["version"]), properties, measures)


def to_dict(family: Family) -> dict[str, Any]:
    """What zoo.json keeps of a family."""
    return {
        "name": family.name,
        "version": family.version,
        "properties": [p.to_dict() for p in family.properties],
        "measures": list(family.measures),
    }


def walk(records: Iterator[Record], layout: Layout) -> Iterator[tuple[int, np.ndarray, Mapping[str, float]]]:
    """Records of a user's training as (step, theta (P,) float32, measures). NwsError where weights do not fit the layout."""
    for record in records:
        weights = record.weights
        if hasattr(weights, "state_dict"):
            weights = weights.state_dict()
        if isinstance(weights, Mapping):
            theta = layout.from_state_dict({name: _array(value) for name, value in weights.items()})
        else:
            theta = np.array(_array(weights), np.float32).reshape(-1)
        if theta.shape != (layout.size,):
            raise NwsError(f"the training yielded {theta.size:,} weights, the layout has {layout.size:,}")
        yield int(record.step), theta, record.measures


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def named(families: Mapping[str, Family], name: str) -> Family:
    """A built-in family, or one of a user's as "module:Name"; NwsError, one line, when there is none."""
    if name in families:
        return families[name]
    if ":" not in name:
        raise unknown("family", name, [*families, "module:Name"])
    found = imported(name, "--family")
    family = found() if isinstance(found, type) else found
    if not isinstance(family, Family):
        raise NwsError(f"--family {name}: this is no family: subclass nws.Family")
    return family
