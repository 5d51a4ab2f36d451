"""The bitstream of Scaffold-GS: every value that rendering needs, uncompressed, float32, little endian.

Owns its sections, in this order:

* ``settings``: number of anchors (u32), channels of the feature, offsets per anchor, width of the heads' hidden layers
  (u16 each), number of viewpoints (u8), and the viewpoints, which only export uses,
* ``locations`` (3 values), ``features`` (D), ``scalings`` (6, linear) and ``offsets`` (3K): one row per anchor,
* ``networks``: weights and biases of the opacity, covariance and colour head.

With D = 50 and K = 10, that is 89 values per anchor and 13,860 values for the networks.
"""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from torch import Tensor

from baselines.scaffold_gs.params import SPECS
from baselines.shared.raw_floats import (
    FIX,
    check_sections,
    open_sections,
    pack_floats,
    read_sections,
    unpack_floats,
    write_sections,
)
from hemgs.anchor_codec.settings import MAX_OFFSETS, MAX_WIDTH
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container
from hemgs.core.errors import BitstreamError
from hemgs.core.types import SectionTable

METHOD = SPECS["ScaffoldGs"].id
_SETTINGS = struct.Struct("<IHHHB")
_SCALING_DIM = 6


def encode_anchors(anchors: FixedAnchors, path: Path) -> SectionTable:
    """Write one bitstream atomically; equal anchors give equal files. This method has no masks.

    Raises:
        DeviceError: the disk is full.
    """
    heads, attributes = anchors.heads, anchors.attributes
    settings = _SETTINGS.pack(
        anchors.num_anchors, heads.feature_dim, heads.num_offsets, heads.hidden_dim, len(anchors.viewpoints)
    )
    arrays = {
        "locations": anchors.positions,
        "features": attributes.features,
        "scalings": attributes.scalings,
        "offsets": attributes.offsets,
        "networks": torch.cat([tensor.flatten() for tensor in heads.state_dict().values()]),
    }
    return write_sections(path, METHOD, settings + pack_floats(anchors.viewpoints), arrays)


def decode_anchors(path: Path) -> FixedAnchors:
    """Read a bitstream, to the CPU.

    Raises:
        BitstreamError: the file is incomplete, altered, of another version or method, or contains impossible values.
    """
    container, dims, viewpoints, shapes = _opened(path)
    found = read_sections(path, container, shapes)
    if not bool((found["scalings"] >= 0).all()):
        raise BitstreamError(f"{path}: section scalings holds negative values", FIX)
    shapes_of_weights = AnchorHeads.shapes(dims)
    parts = torch.split(found["networks"], [shape.numel() for shape in shapes_of_weights.values()])
    weights = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes_of_weights.items(), strict=True)}
    heads = AnchorHeads.of_weights(dims, weights)
    attributes = AnchorAttributes(found["features"], found["scalings"], found["offsets"])
    return FixedAnchors(found["locations"], attributes, heads, viewpoints)


def check_file(path: Path) -> None:
    """Check the settings and the sizes of all sections.

    Raises:
        BitstreamError: :func:`decode_anchors` refuses the file.
    """
    container, _, _, shapes = _opened(path)
    check_sections(path, container, shapes)


def _opened(path: Path) -> tuple[Container, tuple[int, int, int], Tensor, dict[str, tuple[int, ...]]]:
    """Read a file; return its sections but for the settings, sizes and viewpoints, and the sections' shapes."""
    settings, container = open_sections(path, METHOD)
    num_anchors, dims, viewpoints = _decoded_settings(path, settings)
    feature_dim, num_offsets, _ = dims
    shapes: dict[str, tuple[int, ...]] = {
        "locations": (num_anchors, 3),
        "features": (num_anchors, feature_dim),
        "scalings": (num_anchors, _SCALING_DIM),
        "offsets": (num_anchors, num_offsets, 3),
        "networks": (sum(shape.numel() for shape in AnchorHeads.shapes(dims).values()),),
    }
    return container, dims, viewpoints, shapes


def _decoded_settings(path: Path, payload: bytes) -> tuple[int, tuple[int, int, int], Tensor]:
    """Read the settings: number of anchors; channels of the feature, offsets per anchor, hidden width; viewpoints."""
    if len(payload) < _SETTINGS.size:
        raise BitstreamError(f"{path}: section settings has {len(payload)} bytes, {_SETTINGS.size} are needed", FIX)
    num_anchors, feature_dim, num_offsets, hidden_dim, num_viewpoints = _SETTINGS.unpack_from(payload)
    limits = {"feature_dim": (feature_dim, MAX_WIDTH), "num_offsets": (num_offsets, MAX_OFFSETS)}
    limits |= {"hidden_dim": (hidden_dim, MAX_WIDTH)}
    for name, (value, limit) in limits.items():
        if not 1 <= value <= limit:
            raise BitstreamError(f"{path}: section settings: {name} is {value}, 1 to {limit} are allowed", FIX)
    if num_anchors == 0:
        raise BitstreamError(f"{path}: section settings: no anchors", FIX)
    viewpoints = unpack_floats(path, "settings", payload[_SETTINGS.size :], (num_viewpoints, 3))
    return num_anchors, (feature_dim, num_offsets, hidden_dim), viewpoints
