"""Strangers' files of weights, read without running anything that they contain.

checkpoint.py   Checkpoint, what reading yields, and Limits, what is refused before it is read
formats.py      which format a file has
state.py        nested training states -> named arrays
nets.py         which nets a file holds, and which of them is read
archive.py      zip archives: what they claim is checked before they are opened
order.py        named arrays -> layout and theta
places.py, pairs.py, buffers.py   for it: names -> layer and role, tensors that are a weight only together, tensors that are none
safetensors_file.py, torch_file.py, npz.py, onnx_file.py, hdf5.py, msgpack_file.py, gguf_file.py   one module per file format
sharded.py      one net in several files, by their index
stable_baselines.py   agents in a .zip
unpickling.py   pickles of unknown classes, read with stand-ins; stored.py has their tensors, modules.py their whole modules
onnx_graph.py   what an ONNX graph does with its tensors
keras.py        what Keras's HDF5 files mean: names, order, roles, dimensions
flax_names.py   Flax's nested names -> layer by layer
named.py        what is no weights that nws reads: its right name and the way out
"""

from nws.weights.checkpoint import Checkpoint, Limits
from nws.weights.formats import SUFFIXES, read
from nws.weights.order import Ordered, ordered

__all__ = ["SUFFIXES", "Checkpoint", "Limits", "Ordered", "ordered", "read"]
