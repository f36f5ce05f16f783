"""Families of nets: what is chosen before training, where the weights lie, how they start, what the nets compute.

base.py     Family, which users subclass
cnn2020.py  the paper's CNNs
mlp.py      fully connected nets on pictures of any size
inr.py      implicit representations, nets that are one picture each: what they have in common; siren.py has the families
kan.py      Kolmogorov-Arnold networks: layers of splines
resnet8.py  small residual nets
"""

from collections.abc import Mapping

from nws.families import base
from nws.families.base import Family, Record, StoredFamily, Trained
from nws.families.cnn2020 import CNN2020
from nws.families.kan import KAN, KAN_INR
from nws.families.mlp import MLP, standard
from nws.families.resnet8 import ResNet8
from nws.families.siren import RELU_INR, SIREN

FAMILIES: Mapping[str, Family] = {family.name: family for family in (CNN2020, MLP, SIREN, RELU_INR, KAN, KAN_INR, ResNet8)}

__all__ = [
    "CNN2020",
    "FAMILIES",
    "KAN",
    "KAN_INR",
    "MLP",
    "RELU_INR",
    "SIREN",
    "Family",
    "Record",
    "ResNet8",
    "StoredFamily",
    "Trained",
    "named",
    "standard",
]


def named(name: str) -> Family:
    """A built-in family by its name, or a user's as "module:Name"; NwsError, one line, when there is none."""
    return base.named(FAMILIES, name)
