"""zoo.json: what a zoo was planned to be. Written once, when the zoo is made; later only the number of nets may grow."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from nws.atomic import is_temporary, write_once, write_whole
from nws.errors import NwsError
from nws.families import CNN2020, FAMILIES, Family, StoredFamily
from nws.families.base import to_dict
from nws.families.space import Space
from nws.recorded import printable
from nws.zoo.container import HEADER_LIMIT
from nws.zoo.netfile import plain

FORMAT = 3  # what is written
PACKED = 4  # once nets lie in shards; the newest we read
NETS_LIMIT = 10_000_000
_SHOWN = 200  # characters of a setting in a message
_LIMITS = ("limit", "limit_test")  # what an image set's `about` says of the subset that was taken
_DEFAULTS: dict[str, Any] = {"family": None, "space": None, "seed": 0, "nets": None, "images": {}, "settings": {}, "versions": {}}
_TYPES: dict[str, tuple[type, ...]] = {
    "family": (dict, type(None)),
    "space": (dict, type(None)),
    "seed": (int,),
    "nets": (int, type(None)),
    "images": (dict,),
    "settings": (dict,),
    "versions": (dict,),
}


@dataclass(frozen=True)
class Plan:
    """The contents of zoo.json, checked when built. `values` may hold more than we know: it is kept."""

    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        values = {**_DEFAULTS, **self.values}
        for name, types in _TYPES.items():
            if not isinstance(values[name], types) or isinstance(values[name], bool):
                raise NwsError(f"{name}={values[name]!r} makes no sense")
        if values["seed"] < 0:
            raise NwsError(f"seed={values['seed']}: must be 0 or more")
        if values["nets"] is not None and not 0 <= values["nets"] <= NETS_LIMIT:
            raise NwsError(f"nets={values['nets']}: must be 0 to {NETS_LIMIT:,}")
        object.__setattr__(self, "values", values)
        _ = self.space

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @cached_property
    def family(self) -> Family:
        """The family of the nets: a built-in one, or what zoo.json says of a user's. Imported nets are described as the paper's."""
        stored = self.values["family"]
        if stored is None:
            return CNN2020
        try:
            name, version = stored["name"], stored["version"]
            if name in FAMILIES and version > FAMILIES[name].version:
                raise NwsError(f"version {version} of the family {name} is from a newer nws: upgrade nws")
            return FAMILIES[name] if name in FAMILIES else StoredFamily.from_dict(stored)
        except (KeyError, TypeError, ValueError):
            raise NwsError("the family needs a name, a version and a table of properties") from None

    @property
    def space(self) -> Space | None:
        options = self.values["space"]
        try:
            return None if options is None else Space({name: tuple(values) for name, values in options.items()}, self.family)
        except KeyError as error:
            raise NwsError(f"the space lacks {error}") from None
        except TypeError:
            raise NwsError("the space must give a list of options per property") from None

    @classmethod
    def make(
        cls, family: Family | None, space: Space | None, seed: int, nets: int | None, images: Mapping[str, Any], settings: Any
    ) -> Plan:
        values = {
            "format": FORMAT,
            "family": None if family is None else to_dict(family),
            "space": None if space is None else space.options,
            "seed": seed,
            "nets": nets,
            "images": images,
            "settings": {name: value for name, value in settings.items() if value is not None},
            "versions": _versions(),
        }
        return cls(plain(values))

    @classmethod
    def read(cls, root: Path) -> Plan:
        """From a zoo's folder. NwsError when it is none, or was made by a newer nws."""
        if root.is_file():
            raise NwsError(f"{root} is a file: name the folder of a zoo")
        if not root.is_dir():
            raise NwsError(f"{root} does not exist: make a zoo there with `nws sample {root}`")
        path = root / "zoo.json"
        if not path.is_file():
            raise NwsError(f"{root} is no zoo (it has no zoo.json): name another folder, or make a zoo with `nws sample`")
        try:
            values = json.loads(_text(path))
            version = values["format"]
            if type(version) is not int or version < 1:
                raise ValueError("format")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise NwsError(
                f"{path} cannot be read as the plan of a zoo: put back a copy of it, its nets are still in nets/"
            ) from None
        if version > PACKED:
            raise NwsError(f"{path}: format {version} was written by a newer nws: upgrade nws")
        try:
            return cls(values)
        except NwsError as error:
            raise NwsError(f"{path}: {error}") from None

    def begun(self, root: Path) -> bool:
        """Make the zoo, as the first of all that try at once; False when there is one. NwsError when there is something else."""
        path = root / "zoo.json"
        if path.exists() or root.is_file():
            return False
        root.mkdir(parents=True, exist_ok=True)
        if any(not is_temporary(entry) for entry in root.iterdir()) and not path.exists():
            raise NwsError(f"{root} is not empty and no zoo: name an empty or a new folder")
        return write_once(path, self._text())

    def joined(self, root: Path, compare_images: bool) -> None:
        """Go on with the zoo at `root`, which grows to this plan's number of nets. NwsError when it was planned otherwise."""
        while True:
            made = Plan.read(root)
            made.check_same(root, self, compare_images)
            if not os.access(root, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if made.grown(self["nets"]) == made:
                return
            write_whole(root / "zoo.json", made.grown(self["nets"])._text())  # and look again: another may have done so too

    def write(self, root: Path) -> None:
        write_whole(root / "zoo.json", self._text())

    def _text(self) -> bytes:
        return (json.dumps(dict(self.values), indent=1) + "\n").encode()

    def grown(self, nets: int | None) -> Plan:
        """The same plan with at least this many nets."""
        return replace(self, values={**self.values, "nets": max(filter(None, (nets, self["nets"])), default=nets)})

    def packed(self) -> Plan:
        """The same plan for a zoo with shards, which an older nws asks an upgrade for: it would train their nets again."""
        return replace(self, values={**self.values, "format": PACKED})

    def differences(self, wanted: Plan) -> list[str]:
        """Where another plan would make other nets, as "seed=0, not 1". The number of nets and the versions may differ.

        Of images the names, the limits and the checksums count, not where they were found.
        """
        if self.family.name != wanted.family.name:
            return [f"nets of {printable(self.family.name)}, not of {wanted.family.name}"]
        mine, theirs = self._identity(), wanted._identity()
        names = [n for n in dict.fromkeys([*mine, *theirs]) if mine.get(n) != theirs.get(n)]
        found = [f"{printable(n)}={mine.get(n)!r:.{_SHOWN}}, not {theirs.get(n)!r:.{_SHOWN}}" for n in names]
        return found + _image_differences(self["images"], wanted["images"])

    def check_same(self, root: Path, wanted: Plan, compare_images: bool) -> None:
        """NwsError, naming the differences, unless the zoo at `root` was planned as another is wanted."""
        if not compare_images:
            wanted = Plan({**wanted.values, "images": self["images"]})
        differences = self.differences(wanted)
        if differences:
            raise NwsError(f"{root} was made with {'; '.join(differences)}: use another folder, or the same settings")

    def _identity(self) -> dict[str, Any]:
        # With defaults for properties that were added since.
        space = {**(self["space"] or {}), **(plain(self.space.options) if self.space else {})}
        properties = {p.name: plain(p.options) for p in self.family.properties} if isinstance(self.family, StoredFamily) else None
        return {"properties": properties, "seed": self["seed"], **space, "images": sorted(self["images"]), **self["settings"]}


def _image_differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Of image sets that both plans name. A limit is what a user can set, so it is named before any checksum."""
    found = []
    for name in sorted(set(mine) & set(theirs)):
        a, b = (about if isinstance(about, dict) else {} for about in (mine[name], theirs[name]))
        if a.get("sha256") != b.get("sha256"):
            limits = [f"{n}={_limit(a[n])}, not {_limit(b[n])}" for n in _LIMITS if n in a and n in b and a[n] != b[n]]
            other = f"other images of {printable(name)} (sha256 {a.get('sha256')!r:.14}, not {b.get('sha256')!r:.14})"
            found += limits or [other]
    return list(dict.fromkeys(found))  # one limit holds for all sets of a command


def _limit(value: Any) -> str:
    return "none" if value is None else f"{value!r:.{_SHOWN}}"


def _text(path: Path) -> bytes:
    with open(path, "rb") as file:
        text = file.read(HEADER_LIMIT + 1)
    if len(text) > HEADER_LIMIT:
        raise ValueError("too large")
    return text


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("nws", "numpy", "torch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
