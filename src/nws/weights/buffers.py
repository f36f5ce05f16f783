"""What lies among a net's weights and is none: masks, positions, anchors, counters, measurements."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from nws.recorded import printable

# By the last word of a name. None of these is ever moved by an optimizer; each was met in a published file.
_NAMED = re.compile(
    r"num_batches_tracked|n_averaged|initialized|(global_)?(steps?|iter|iterations?)|counters?|counts?|ema_?steps?"
    r"|(attn|attention|causal|tril|triu|bias|key|sliding_window)?_?masks?|tril|triu|masked_bias"
    r"|position_ids|token_type_ids|relative_position_index|relative_coords_table|rel_pos_indices"
    r"|inv_freq|freqs_cis|cos_cached|sin_cached|rope_freqs"
    r"|anchors?|anchor_?grid|strides?|priors?|default_boxes|grid_cell",
    re.IGNORECASE,
)
# Numbers about the training that programs save beside the weights; only where there is one of them.
_MEASURED = re.compile(
    r"(best|final|train|test|val|valid|validation)?_?(acc|accuracy|loss|error|score|epochs?|lr|learning_rate|seed|time)"
)


def is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is no weight, as its name tells, and for GPT's causal mask (`attn.bias`) its shape."""
    before, _, last = re.sub(r"[/:]", ".", name.removesuffix(":0")).rpartition(".")
    if _NAMED.fullmatch(last):
        return True
    if last == "bias" and len(shape) == 4:  # (1, 1, T, T): a triangle of ones, saved by GPT-2's attention
        return shape[:2] == (1, 1) and shape[2] == shape[3] > 1 and "attn" in before
    return int(np.prod(shape)) == 1 and bool(_MEASURED.fullmatch(last.lower()))


def without(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The weights among the arrays, and a note on what was left out. All of them, where nothing else would be left."""
    kept = {name: array for name, array in arrays.items() if not is_buffer(name, array.shape)}
    if not kept or len(kept) == len(arrays):
        return dict(arrays), ()
    others = [name for name in arrays if name not in kept]
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return kept, (f"no weights by their names, left out: {', '.join(printable(name)[:60] for name in others[:3])}{more}",)
