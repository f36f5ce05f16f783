"""Random changes of the training images (A.1 of the paper), for a batch at once: pure functions of images, parameters and noise.

Each image has its own parameters. (The 2020 program drew the colour changes once per batch and changed validation and test
images too; docs/legacy.md.)
"""

from __future__ import annotations

import functools
import math

import torch
from torch.nn import functional

from nws.families.cnn2020 import AUGMENTATION as RANGES

CHUNK = 64  # images at a time: the float pictures of a chunk stay in the cache


def draw(n: int, generator: torch.Generator) -> torch.Tensor:
    """Parameters (n, 11) for n images, columns as in `RANGES`."""
    low, width = _ranges(generator.device)
    return low + width * torch.rand(n, len(RANGES), generator=generator, device=generator.device)


@functools.cache  # on a GPU the numbers have to cross over, which a captured step must not
def _ranges(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = torch.tensor(list(RANGES.values()), device=device).T
    return low, high - low


def augment(x: torch.Tensor, generator: torch.Generator, at_once: int = CHUNK) -> torch.Tensor:
    """Images (B, 3, H, W) in [0, 1] -> changed images in [0, 1]. `at_once` decides which random numbers an image gets."""
    changed = []
    for chunk in x.split(at_once):
        noise = torch.randn(
            chunk.shape, generator=generator, device=chunk.device
        )  # contiguous: six times faster than channels last
        changed.append(apply(chunk, draw(len(chunk), generator), noise))
    return torch.cat(changed)


def apply(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The written-out rule for given `parameters` (B, 11) and standard normal `noise` (B, 3, H, W): geometry, colours, clip."""
    values = dict(zip(RANGES, parameters.T.reshape(len(RANGES), -1, 1, 1, 1)))
    x = warp(x, parameters)
    x = x + values["brightness"]
    mean = x.mean((2, 3), keepdim=True)
    x = (x - mean) * values["contrast"] + mean
    x = turn_colours(x, values["hue"][:, :, 0], values["saturation"][:, :, 0])
    return (x + noise * values["noise"]).clamp_(0.0, 1.0)


def warp(x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Translation, rotation, zoom and shear about the centre, bilinear, 0 outside. Output pixel p shows the input at A (p + t)."""
    shift_x, shift_y, rotation, zoom, shear_x, shear_y = parameters[:, :6].T
    rotation, shear_x, shear_y = (angle * (math.pi / 180) for angle in (rotation, shear_x, shear_y))
    a, b = zoom * torch.cos(shear_x - rotation) / torch.cos(shear_x), zoom * torch.sin(shear_x - rotation) / torch.cos(shear_x)
    c, d = zoom * torch.sin(shear_y + rotation) / torch.cos(shear_y), zoom * torch.cos(shear_y + rotation) / torch.cos(shear_y)
    half = x.shape[-1] / 2  # affine_grid's unit: the picture reaches from -1 to 1
    matrix = torch.stack([a, b, (a * shift_x + b * shift_y) / half, c, d, (c * shift_x + d * shift_y) / half], 1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def turn_colours(x: torch.Tensor, hue: torch.Tensor, saturation: torch.Tensor) -> torch.Tensor:
    """HSV: H + hue, S x saturation (clipped to [0, 1]), V kept. x (B, 3, H, W), hue and saturation (B, 1, 1).

    Back in RGB a channel is V - V S clamp(2 - 6 |H' - 1/2|, 0, 1), where H' is H (in turns) as seen from that channel's colour:
    the usual case distinction without branches.
    """
    red, green, blue = x.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    six = (6 * chroma).clamp_min(1e-12)
    turn = torch.where(value == green, (blue - red) / six + 1 / 3, (red - green) / six + 2 / 3)
    turn = torch.where(value == red, (green - blue) / six, turn) + hue
    # A brightness change can leave V <= 0: then S is 0, as in HSV of black.
    chroma = torch.minimum(chroma * saturation, value.clamp_min(0.0))
    changed = torch.empty_like(x)
    for channel, offset in enumerate((0.0, 2 / 3, 1 / 3)):
        seen = turn + offset
        away = seen.sub_(seen.floor()).sub_(0.5).abs_()
        torch.addcmul(value, chroma, away.mul_(-6).add_(2).clamp_(0, 1), value=-1, out=changed[:, channel])
    return changed
