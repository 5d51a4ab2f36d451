"""Comparison of entropy models on the same symbols: it shows their savings at an equal picture.

A trained model's attributes are quantised once, at one λ, with its own steps. Any other entropy model can then be
fitted to these symbols and counts their bytes. Sizes are those of real streams: networks as integers, symbols through
the range coder.

Steps stay those of the trained model. A compared model contains its rate predictor, so that its size is counted.
Locations, masks and rendering networks are the same for all models and are left out.

Owns the frozen symbols, their price during the fit, and the size of their streams. Does not own the fitting
(``refit_training``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.file import Places
from hemgs.anchor_codec.location_grid import (
    Bounds,
    encode_grid,
    exact_lookup,
    stored_bounds,
    unit_points,
    used_entries,
)
from hemgs.anchor_codec.settings import Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.streams import CHUNK, chunks, joined
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.params import SCALING_DIM
from hemgs.codec.anchor_set import AnchorSet, anchor_set
from hemgs.codec.context import Pairs, Seen
from hemgs.codec.integer_model import FixedGroup, Integers
from hemgs.codec.model import AttributeGroup, EntropyModel
from hemgs.codec.rate_predictor import fixed_rate_input
from hemgs.codec.settings import EntropySettings
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import STEP_FRACTION, quantize
from hemgs.coding.rans import GaussianEncoder
from hemgs.coding.weights import encode_integers
from hemgs.core.catalogue import MODEL_SECTIONS
from hemgs.core.errors import ConfigError
from hemgs.core.types import LmbdaInterval

#: Variants by name: whether the frozen network and the autoregressive networks take part.
VARIANTS: Mapping[str, tuple[bool, bool]] = {
    "base": (False, False),
    "sa": (True, False),
    "ar": (False, True),
    "both": (True, True),
}
#: Sections that count as a compared model's bytes.
SECTIONS = MODEL_SECTIONS


@dataclass(frozen=True)
class TrainedModel:
    """A trained HEMGS model.

    Attributes:
        anchors: anchors with attributes.
        entropy: entropy model of the training.
        base_steps: base steps of the training.
        whole: settings of a model with both networks; variants leave out one or both.
        location_codec: codec of locations in the model's files.
        interval: interval of λ that it serves.
    """

    anchors: AnchorModel
    entropy: EntropyModel
    base_steps: BaseSteps
    whole: EntropySettings
    location_codec: str
    interval: LmbdaInterval

    def variant(self, name: str) -> EntropySettings:
        """Return the settings of a variant.

        Raises:
            ConfigError: there is no such variant.
        """
        if name not in VARIANTS:
            raise ConfigError(f"variant {name!r} is not known", f"choose from {', '.join(VARIANTS)}")
        scene_agnostic, autoregressive = VARIANTS[name]
        if scene_agnostic and not self.whole.scene_agnostic:
            raise ConfigError(
                f"variant {name!r} needs a frozen network, and the model's settings name none",
                "add --set scene_agnostic=pointnet2_bundled",
            )
        if autoregressive and not self.whole.has_context:
            raise ConfigError(
                f"variant {name!r} needs autoregressive networks, and the model's settings have none",
                "add --set feature_context=32 --set geometry_context=24",
            )
        return replace(
            self.whole,
            scene_agnostic=self.whole.scene_agnostic if scene_agnostic else "",
            feature_context=self.whole.feature_context if autoregressive else 0,
            geometry_context=self.whole.geometry_context if autoregressive else 0,
        )


@dataclass(frozen=True)
class FrozenGroup:
    """Symbols of one attribute group, N anchors with C channels.

    Attributes:
        symbols: ``[N, C] int64``, zero where not coded.
        step_index: ``[N, C] int64``.
        coded: ``[N, C] bool``.
        parts: columns by attribute.
    """

    symbols: Integers
    step_index: Integers
    coded: NDArray[np.bool_]
    parts: Mapping[str, slice]

    def values(self) -> Tensor:
        """Return decoded values in base steps, ``[N, C] float32``."""
        return torch.from_numpy(self.symbols * np.exp2(self.step_index / STEP_FRACTION)).float()


@dataclass(frozen=True)
class FrozenSymbols:
    """The common input of compared models.

    Attributes:
        stored: ``[N, 3] int64`` stored locations in raster order.
        bounds: least and greatest corner of the hash grid, in units of stored locations.
        rate_input: ``t`` of the λ in units of ``2^-ACTIVATION_BITS``.
        features, geometry: the two groups.
    """

    stored: NDArray[np.int64]
    bounds: tuple[Bounds, Bounds]
    rate_input: int
    features: FrozenGroup
    geometry: FrozenGroup

    @property
    def num_anchors(self) -> int:
        """The number N of anchors."""
        return len(self.stored)


@torch.no_grad()
def freeze(model: TrainedModel, lmbda: float) -> FrozenSymbols:
    """Quantise a trained model's attributes as in its file at λ.

    Raises:
        ConfigError: λ is outside the trained interval.
        TrainingError: no anchor is left.
    """
    rate_input = fixed_rate_input(lmbda, model.interval)
    anchors, entropy = model.anchors, model.entropy
    places = Places.of(anchors, Storage(model.location_codec))
    stored = places.stored
    bounds = stored_bounds(entropy.low, entropy.high, places.strides)
    found = anchor_set(stored, entropy.settings)
    attributes = anchors.attributes(torch.from_numpy(places.rows).to(anchors.coords.device))
    locations = _locations(entropy, found, bounds)
    group = FixedGroup.export(entropy.features)
    steps = group.step_index(group.prior(locations, None), rate_input)
    every = np.ones(steps.shape, dtype=np.bool_)
    values, base = attributes.features.double().cpu().numpy(), model.base_steps
    symbols = quantize(values, base.features, steps).astype(np.int64)
    features = FrozenGroup(symbols, steps, every, {"features": slice(0, symbols.shape[1])})

    previous = group.scaled(symbols, steps, "cpu")
    group = FixedGroup.export(entropy.geometry)
    steps = group.step_index(group.prior(locations, previous), rate_input)
    scalings = quantize(attributes.scalings.double().cpu().numpy(), base.scalings, steps[:, :SCALING_DIM])
    offsets = quantize(attributes.offsets.flatten(1).double().cpu().numpy(), base.offsets, steps[:, SCALING_DIM:])
    coded = np.concatenate([np.ones_like(scalings, dtype=np.bool_), places.masks.repeat(3, axis=1)], axis=1)
    symbols = np.where(coded, np.concatenate([scalings, offsets], axis=1), 0).astype(np.int64)
    parts = {"scalings": slice(0, SCALING_DIM), "offsets": slice(SCALING_DIM, symbols.shape[1])}
    return FrozenSymbols(stored, bounds, rate_input, features, FrozenGroup(symbols, steps, coded, parts))


@torch.no_grad()
def fresh_model(settings: EntropySettings, trained: EntropyModel, frozen: FrozenSymbols, seed: int) -> EntropyModel:
    """Build an entropy model before fitting: random, except for the symbols' statistics and the trained steps.

    Raises:
        ConfigError: the settings do not fit the trained model's symbols or rate predictors.
    """
    torch.manual_seed(seed)
    entropy = EntropyModel(settings)
    entropy.low.copy_(trained.low)
    entropy.high.copy_(trained.high)
    entropy.choose_window(frozen.stored)
    groups = (
        (entropy.features, trained.features, frozen.features),
        (entropy.geometry, trained.geometry, frozen.geometry),
    )
    for mine, other, symbols in groups:
        try:
            mine.rate_predictor.load_state_dict(other.rate_predictor.state_dict())
        except RuntimeError as fault:
            raise ConfigError(
                f"the trained rate predictor does not fit these settings ({' '.join(str(fault).split())})",
                "leave feature_dim, num_offsets, the prior features' and the rate predictors' widths as trained",
            ) from fault
        mine.rate_predictor.requires_grad_(False)
        mine.calibrate(symbols.values())
    return entropy


class FrozenPrice:
    """Differentiable price of frozen symbols under a model in float.

    Args:
        entropy: the model.
        frozen: the symbols.
        device: where to compute.
    """

    def __init__(self, entropy: EntropyModel, frozen: FrozenSymbols, device: torch.device | str) -> None:
        self._entropy = entropy.to(device)
        found = anchor_set(frozen.stored, entropy.settings, device)
        self._table, self._scene_agnostic = found.table, found.scene_agnostic_float
        self._points = unit_points(found.coords, *torch.tensor(frozen.bounds, device=device))
        self._rate = frozen.rate_input / (1 << ACTIVATION_BITS)
        groups = (frozen.features, frozen.geometry)
        self._values = [group.values().to(device) for group in groups]
        self._log2_steps = [torch.from_numpy(group.step_index / STEP_FRACTION).float().to(device) for group in groups]
        self._coded = [torch.from_numpy(group.coded).to(device) for group in groups]

    def bits(self, rows: Tensor) -> Tensor:
        """Return the code length of some anchors' symbols, all together.

        Args:
            rows: ``[n] int64`` on the device.
        """
        entropy = self._entropy
        locations = entropy.grid(self._points[rows])
        if self._scene_agnostic is not None:
            locations = torch.cat([locations, self._scene_agnostic[rows]], dim=1)
        pairs = None if self._table is None else self._table.pairs(rows)
        total = self._group_bits(0, entropy.features, entropy.features.prior(locations, None), rows, pairs)
        previous = entropy.features.scaled(self._values[0][rows])
        prior = entropy.geometry.prior(locations, previous)
        return total + self._group_bits(1, entropy.geometry, prior, rows, pairs)

    def _group_bits(
        self, which: int, group: AttributeGroup, prior: Tensor, rows: Tensor, pairs: Pairs | None
    ) -> Tensor:
        values = self._values[which]
        seen = None
        if pairs is not None and group.autoregressive is not None:
            seen = Seen(pairs, values[pairs.neighbour], self._coded[which][pairs.neighbour].to(values.dtype))
        rates = prior.new_full((len(rows), 1), self._rate)
        prediction = group.predict(prior, rates, self._log2_steps[which][rows], seen, values[rows])
        return (prediction.bits(values[rows]) * self._coded[which][rows]).sum()


@torch.no_grad()
def float_bytes(entropy: EntropyModel, frozen: FrozenSymbols, device: torch.device | str) -> int:
    """Return bytes of features, scalings and offsets with the same networks in floating point and an ideal coder.

    :func:`coded_bytes` minus this is the cost of integers, tables and coder. At best, only the machine that wrote such
    a file could decode it. Probabilities are floored as in training; the coder's escapes can take fewer bits.
    """
    price = FrozenPrice(entropy, frozen, device)
    rows = torch.arange(frozen.num_anchors, device=device).split(CHUNK)
    return math.ceil(sum(float(price.bits(part).double()) for part in rows) / 8)


@torch.no_grad()
def coded_bytes(entropy: EntropyModel, frozen: FrozenSymbols) -> dict[str, int]:
    """Return bytes of the frozen symbols under a model by section (:data:`SECTIONS`): the lengths of the streams."""
    entropy = entropy.to("cpu")
    found = anchor_set(frozen.stored, entropy.settings)
    locations = _locations(entropy, found, frozen.bounds)
    features, geometry = FixedGroup.export(entropy.features), FixedGroup.export(entropy.geometry)
    grid = entropy.settings.grid
    used = used_entries(grid, found.coords, *frozen.bounds) if entropy.settings.sparse_grid else None
    streams = {
        "hash_grid": encode_grid(entropy.grid.signs().numpy(), grid, used),
        "networks": encode_integers(features.stored() + geometry.stored()),
        **_streams(features, frozen.features, features.prior(locations, None), found, frozen.rate_input),
    }
    previous = features.scaled(frozen.features.symbols, frozen.features.step_index, "cpu")
    prior = geometry.prior(locations, previous)
    streams |= _streams(geometry, frozen.geometry, prior, found, frozen.rate_input)
    return {name: len(streams[name]) for name in SECTIONS}


def _streams(
    group: FixedGroup, frozen: FrozenGroup, prior: Tensor, found: AnchorSet, rate_input: int
) -> dict[str, bytes]:
    """Encode the streams of a group's attributes, in a file's order of symbols."""
    encoders = {name: [GaussianEncoder() for _ in group.channels.columns] for name in frozen.parts}
    network, memory = group.autoregressive, None
    prior_sums = torch.cat([group.prior_sums(part, rate_input) for part in prior.split(CHUNK)])
    if network is not None:
        memory = network.memory(len(frozen.symbols), torch.from_numpy(frozen.coded))
        network.remember(memory, slice(None), group.scaled(frozen.symbols, frozen.step_index, "cpu"))
    for part in chunks(len(found.waves.order)):
        order = found.waves.order[part]
        rows = torch.from_numpy(order)
        pairs = found.table.pairs(rows) if network is not None and found.table is not None else None
        prediction = group.predict(prior_sums[rows], frozen.step_index[order], memory, pairs)
        for name, chunk, columns, piece in group.pieces(prediction, frozen.symbols[order], frozen.parts):
            centre, level, offset = piece.table_rows()
            coded = frozen.coded[order, columns]
            residual = frozen.symbols[order, columns] - centre
            encoders[name][chunk].push(residual[coded].astype(np.int32), level[coded], offset[coded])
    return {name: joined([each.finish() for each in parts]) for name, parts in encoders.items()}


def _locations(entropy: EntropyModel, found: AnchorSet, bounds: tuple[Bounds, Bounds]) -> Tensor:
    """Return the features of locations in integers, ``[N, location_dim] float64``."""
    parts = [exact_lookup(entropy.settings.grid, entropy.grid.signs(), found.coords, *bounds).double()]
    if found.scene_agnostic is not None:
        parts.append(found.scene_agnostic)
    return torch.cat(parts, dim=1)
