"""An anchor set in training: it has the same neighbours as in a file, found by rows."""

from __future__ import annotations

import pytest
import torch

from hemgs.codec.settings import EntropySettings
from hemgs.codec.surroundings import Surroundings
from hemgs.coding.locations import raster_order
from hemgs.coding.names import OCTREE, RAW16
from hemgs.pointnet.features import scene_agnostic_features
from tests.unit.codec.toy_anchors import SETTINGS, WHOLE


def rows_of_a_model() -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates in no order, and which of them are kept."""
    torch.manual_seed(1)
    coords = torch.unique(torch.randint(-15, 15, (400, 3)), dim=0)
    coords = coords[torch.randperm(len(coords))]
    return coords, torch.nonzero(torch.rand(len(coords)) < 0.8).squeeze(1)


@pytest.fixture(scope="module")
def found() -> tuple[torch.Tensor, torch.Tensor, Surroundings]:
    coords, kept = rows_of_a_model()
    return coords, kept, Surroundings.of(coords, kept, WHOLE)


def test_rows_are_in_raster_order(found: tuple[torch.Tensor, torch.Tensor, Surroundings]) -> None:
    coords, kept, around = found
    assert torch.equal(around.rows.sort().values, kept)
    assert (raster_order(coords[around.rows].numpy()) == range(len(kept))).all()
    assert around.contains(kept).all()
    assert around.contains(torch.arange(len(coords))).sum() == len(kept)


def test_anchors_stand_where_the_file_will_put_them() -> None:
    """Where 16 bits move anchors, those of an octree stay where they are."""
    torch.manual_seed(0)
    coords = torch.cat([torch.randint(0, 12, (40, 3)), torch.tensor([[1 << 19] * 3])])
    stored = Surroundings.of(coords, torch.arange(len(coords)), WHOLE, OCTREE).anchors
    assert stored is not None and stored.coords.max() == 1 << 19
    moved = Surroundings.of(coords, torch.arange(len(coords)), WHOLE, RAW16).anchors
    assert moved is not None and moved.coords.max() < 1 << 16


def test_pairs_name_rows(found: tuple[torch.Tensor, torch.Tensor, Surroundings]) -> None:
    """For any rows, each pair is a pair of the anchor set, by coordinates."""
    coords, _, around = found
    assert around.anchors is not None and around.anchors.table is not None
    rows = torch.randperm(len(coords))[:60]
    chosen = torch.nonzero(around.contains(rows)).squeeze(1)[::2]
    pairs, extra = around.pairs(rows, chosen)
    assert pairs is not None
    joined = torch.cat([rows, extra])
    assert len(torch.unique(joined)) == len(joined)
    inner = around.anchors.table.pairs(around.position[rows[chosen]])
    assert torch.equal(coords[joined[pairs.neighbour]], around.anchors.coords[inner.neighbour])
    assert torch.equal(pairs.weights, inner.weights)
    assert len(extra) > 0


def test_frozen_network_s_features_follow_their_rows(found: tuple[torch.Tensor, torch.Tensor, Surroundings]) -> None:
    coords, kept, around = found
    everything = torch.arange(len(coords))
    features = around.scene_agnostic(everything)
    assert features is not None
    dropped = ~around.contains(everything)
    assert dropped.any() and (features[dropped] == 0).all()
    expected = scene_agnostic_features(coords[around.rows].numpy(), WHOLE.scene_agnostic) / 256
    assert torch.equal(features[around.rows], expected.float())
    assert features[kept].std() > 0.1


@pytest.mark.parametrize("settings", [SETTINGS])
def test_without_networks_that_look_around_every_kept_row_stands_alone(settings: EntropySettings) -> None:
    coords, kept = rows_of_a_model()
    around = Surroundings.of(coords, kept, settings)
    assert around.anchors is None
    assert around.contains(kept).all()
    assert around.scene_agnostic(kept) is None
    pairs, extra = around.pairs(kept, torch.arange(5))
    assert pairs is None and len(extra) == 0
