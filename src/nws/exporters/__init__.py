"""Zoos into other people's formats (docs/import.md).

exporting.py   which nets, and what is done with each; goes on where it stopped
nws2020.py     runs and split tables that the 2020 program reads
state_dicts.py a .safetensors per snapshot with PyTorch's names, and a table
matrices.py    a matrix per layout, and a table of its rows
"""

from nws.exporters.exporting import KINDS, export

__all__ = ["KINDS", "export"]
