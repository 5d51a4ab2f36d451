"""A HEMGS bitstream: anchors in, one file out, and back.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Nothing but the file,
the package's integer tables and the frozen network that the settings name is needed to decode.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchors import AnchorAttributes, AnchorHeads, AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, SymbolDigest, read_container, write_container
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.locations import decode_locations, encode_locations, raster_order, stored_locations
from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.coding.signs import decode_signs, encode_signs
from hemgs.coding.weights import decode_half, decode_integers, encode_half, encode_integers
from hemgs.core.errors import BitstreamError, TrainingError
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_set import anchor_set
from hemgs.entropy.fixed import FixedGroup
from hemgs.entropy.header import Header
from hemgs.entropy.masks import keep_mask
from hemgs.entropy.model import SCALING_DIM, EntropyModel, EntropySettings
from hemgs.entropy.rate_predictor import rate_input
from hemgs.entropy.simulation import BaseSteps
from hemgs.entropy.symbols import ATTRIBUTES, FixedModel, ReadingStream, WritingStream, traverse
from hemgs.pointnet.features import scene_agnostic_digest

_DAMAGED = "get the file again from its source, or encode again with this version"


def encode_anchors(
    path: Path,
    method: str,
    anchors: AnchorModel,
    entropy: EntropyModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
) -> SectionTable:
    """Writes one bitstream; deterministic; the arithmetic runs where the anchors are.

    Args:
        path: of the file.
        method: id that the file carries.
        anchors, entropy: trained, on one device.
        base_steps: that they were trained with.
        lmbda: the rate.
        viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.

    Raises:
        ConfigError: λ outside the trained interval.
        TrainingError: no anchor is left, or an attribute is not finite.
    """
    kept = torch.nonzero(keep_mask(anchors.mask_logits).any(dim=1)).squeeze(1).cpu().numpy()
    if kept.size == 0:
        raise TrainingError("no anchor has an offset left, so there is nothing to encode", "lower mask_weight")
    stored, strides = stored_locations(anchors.coords.cpu().numpy()[kept])
    order = raster_order(stored)
    stored, kept = stored[order], kept[order]
    masks = keep_mask(anchors.mask_logits).cpu().numpy()[kept]
    header = _header(anchors, entropy, base_steps, lmbda, strides, viewpoints)
    model = FixedModel(
        header, entropy.grid.signs(), FixedGroup.export(entropy.features), FixedGroup.export(entropy.geometry)
    )
    known = anchor_set(stored, header.entropy, anchors.coords.device)
    stream = WritingStream(_values(anchors, kept), _attribute_steps(base_steps))
    traverse(model, known, masks, stream)

    signs = model.signs.cpu().numpy()
    integers = model.features.integers() + model.geometry.integers()
    sections = {
        "settings": header.to_bytes(),
        "locations": encode_locations(stored),
        "masks": encode_masks(masks),
        "hash_grid": encode_signs(_by_level(signs, header.entropy)),
        "networks": _join(encode_half(_head_arrays(anchors.heads)), encode_integers(integers)),
        **stream.finish(),
    }
    digest = _digest(stored, masks, signs, integers, stream.symbols)
    sizes = write_container(path, method, sections, digest)
    return SectionTable(sizes, stream.estimated_bits, known.figures)


def decode_anchors(path: Path, method: str, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    container = read_container(path)
    if container.method != method:
        raise BitstreamError(f"{path}: written by method {container.method}, not {method}", "decode it with its method")
    try:
        return _decode(container, device)
    except BitstreamError as fault:
        raise BitstreamError(f"{path}: {fault.message}", fault.fix) from fault


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    sections = container.sections
    missing = {"settings", "locations", "masks", "hash_grid", "networks", *ATTRIBUTES} - set(sections)
    if missing:
        raise BitstreamError(f"sections {sorted(missing)} are missing", _DAMAGED)
    header = Header.from_bytes(sections["settings"])
    header.check_assets()
    settings = header.entropy
    stored = decode_locations(sections["locations"])
    if not np.array_equal(raster_order(stored), np.arange(len(stored))):
        raise BitstreamError("section locations: anchors are not in raster order", _DAMAGED)
    masks = decode_masks(sections["masks"], len(stored), settings.num_offsets)
    signs = _decode_signs(sections["hash_grid"], settings)
    half, coded = _split(sections["networks"])
    heads = _decode_heads(half, header)
    shapes = _integer_shapes(settings)
    integers = decode_integers(coded, [shape for group in shapes for shape in group])
    model = _fixed_model(header, signs, integers, len(shapes[0]), device)
    stream = _reading_stream(sections, header, len(stored))
    traverse(model, anchor_set(stored, settings, device), masks, stream)
    stream.finish()
    if _digest(stored, masks, signs, integers, stream.symbols) != container.symbols_digest:
        raise BitstreamError("the decoded symbols do not have the file's checksum", _DAMAGED)
    values = {name: torch.from_numpy(value).to(device) for name, value in stream.values.items()}
    attributes = AnchorAttributes(
        values["features"],
        values["scalings"].clamp_min(0),
        values["offsets"].view(len(stored), settings.num_offsets, 3),
        torch.from_numpy(masks).to(device).float(),
    )
    viewpoints = torch.tensor(header.viewpoints, dtype=torch.float32, device=device).view(-1, 3)
    positions = _positions(stored, header).to(device)
    for name, tensor in {**values, "locations": positions, "viewpoints": viewpoints}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BitstreamError(f"section settings: its steps or sizes give {name} that are not finite", _DAMAGED)
    return FixedAnchors(positions, attributes, heads.to(device), viewpoints)


def _decode_signs(section: bytes, settings: EntropySettings) -> NDArray[np.int8]:
    sizes = [level.entries * settings.grid.features for level in settings.grid.levels]
    return np.concatenate(decode_signs(section, sizes)).reshape(-1, settings.grid.features)


def _decode_heads(half: bytes, header: Header) -> AnchorHeads:
    dims = header.entropy.feature_dim, header.entropy.num_offsets, header.head_hidden
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in AnchorHeads(*dims).state_dict().items()}
    names, arrays = shapes.keys(), decode_half(half, list(shapes.values()))
    heads = AnchorHeads(*dims)
    heads.load_state_dict(
        {name: torch.from_numpy(np.asarray(array, np.float32)) for name, array in zip(names, arrays, strict=True)}
    )
    if not all(bool(torch.isfinite(parameter).all()) for parameter in heads.parameters()):
        raise BitstreamError("section networks: weights are not finite", _DAMAGED)
    return heads.requires_grad_(False)


def _integer_shapes(settings: EntropySettings) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of a file's network integers, of the features and of the geometry.

    An untrained model knows them, and tensors without data cost nothing.
    """
    with torch.device("meta"):
        blank = EntropyModel(settings)
    return FixedGroup.shapes(blank.features), FixedGroup.shapes(blank.geometry)


def _fixed_model(
    header: Header,
    signs: NDArray[np.int8],
    integers: list[NDArray[np.int64]],
    num_features: int,
    device: torch.device | str,
) -> FixedModel:
    """The model of a file; the first ``num_features`` arrays are those of the features, the others of the geometry."""
    octaves = header.entropy.rate_octaves
    features, geometry = (
        FixedGroup.from_integers(part, octaves, device) for part in (integers[:num_features], integers[num_features:])
    )
    return FixedModel(header, torch.from_numpy(signs), features, geometry)


def _reading_stream(sections: Mapping[str, bytes], header: Header, num: int) -> ReadingStream:
    settings = header.entropy
    widths = {"features": settings.feature_dim, "scalings": SCALING_DIM, "offsets": 3 * settings.num_offsets}
    return ReadingStream(
        {name: sections[name] for name in ATTRIBUTES},
        {name: (num, width) for name, width in widths.items()},
        _attribute_steps(header.base_steps),
    )


def _positions(stored: NDArray[np.int64], header: Header) -> Tensor:
    """World coordinates, ``[N, 3] float32``; two float64 products and one rounding, alike on every device."""
    return torch.from_numpy((stored * np.array(header.strides) * header.voxel_size).astype(np.float32))


def _header(
    anchors: AnchorModel,
    entropy: EntropyModel,
    base_steps: BaseSteps,
    lmbda: float,
    strides: tuple[float, float, float],
    viewpoints: Tensor,
) -> Header:
    low = [int(np.floor(value / stride)) for value, stride in zip(entropy.low.tolist(), strides, strict=True)]
    high = [int(np.ceil(value / stride)) for value, stride in zip(entropy.high.tolist(), strides, strict=True)]
    return Header(
        lmbda=float(lmbda),
        rate=round(rate_input(lmbda) * (1 << ACTIVATION_BITS)),
        voxel_size=anchors.voxel_size,
        strides=strides,
        low=(low[0], low[1], low[2]),
        high=(high[0], high[1], high[2]),
        head_hidden=anchors.heads.hidden_dim,
        viewpoints=tuple(float(f"{value:.4g}") for value in viewpoints.flatten().tolist()),
        base_steps=base_steps,
        entropy=entropy.settings,
        scene_agnostic_sha256=scene_agnostic_digest(asset) if (asset := entropy.settings.scene_agnostic) else "",
    )


def _values(anchors: AnchorModel, kept: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Attributes to code, ``[N, C] float64``, in coding order."""
    attributes = anchors.attributes(torch.from_numpy(kept).to(anchors.coords.device))
    parts = {
        "features": attributes.features,
        "scalings": attributes.scalings,
        "offsets": attributes.offsets.flatten(1),
    }
    values = {name: part.detach().double().cpu().numpy() for name, part in parts.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise TrainingError(f"anchor {name} are not finite", "train again with lower learning rates")
    return values


def _attribute_steps(steps: BaseSteps) -> dict[str, float]:
    return {"features": steps.features, "scalings": steps.scalings, "offsets": steps.offsets}


def _head_arrays(heads: AnchorHeads) -> list[NDArray[np.float32]]:
    return [value.detach().cpu().numpy() for value in heads.state_dict().values()]


def _by_level(signs: NDArray[np.int8], settings: EntropySettings) -> list[NDArray[np.int8]]:
    return [signs[level.start : level.start + level.entries].ravel() for level in settings.grid.levels]


def _digest(
    stored: NDArray[np.int64],
    masks: NDArray[np.bool_],
    signs: NDArray[np.int8],
    integers: list[NDArray[np.int64]],
    symbols: Mapping[str, NDArray[np.int64]],
) -> bytes:
    """Checksum of everything that entropy decoding restores."""
    digest = SymbolDigest()
    digest.update("locations", stored)
    digest.update("masks", masks.astype(np.int64))
    digest.update("hash_grid", signs.astype(np.int64))
    for array in integers:
        digest.update("networks", array)
    for name in ATTRIBUTES:
        digest.update(name, symbols[name])
    return digest.digest()


def _join(first: bytes, second: bytes) -> bytes:
    """Two byte strings as one."""
    return struct.pack("<I", len(first)) + first + second


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The inverse of :func:`_join`."""
    if len(data) < 4 or struct.unpack("<I", data[:4])[0] > len(data) - 4:
        raise BitstreamError("section networks is cut", _DAMAGED)
    end = 4 + struct.unpack("<I", data[:4])[0]
    return data[4:end], data[end:]
