"""Families of nets: what is chosen before training, where the weights lie, how they start, what the nets compute.

base.py     Family, which users subclass
cnn2020.py  the paper's CNNs
mlp.py      fully connected nets on pictures of any size
inr.py      implicit representations, nets that are one picture each: what they have in common; siren.py has the families
"""

from collections.abc import Mapping

from nws.families import base
from nws.families.base import Family, Record, StoredFamily, Trained
from nws.families.cnn2020 import CNN2020
from nws.families.mlp import MLP, standard
from nws.families.siren import RELU_INR, SIREN

FAMILIES: Mapping[str, Family] = {family.name: family for family in (CNN2020, MLP, SIREN, RELU_INR)}

__all__ = ["CNN2020", "FAMILIES", "MLP", "RELU_INR", "SIREN", "Family", "Record", "StoredFamily", "Trained", "named", "standard"]


def named(name: str) -> Family:
    """A built-in family by its name, or a user's as "module:Name"; NwsError, one line, when there is none."""
    return base.named(FAMILIES, name)
