"""Files of datasets: overrides of a scene, captures, and the files of this repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hemgs.config.captures import check_captures, expand_path
from hemgs.config.dataset import EveryNth, RandomPoints, load_dataset
from hemgs.core.errors import ConfigError
from tests.unit.config.config_folder import Folder

REPOSITORY = Path(__file__).resolve().parents[3]


def test_overrides_of_a_scene(folder: Folder) -> None:
    scene = {"protocol": {"scale": 0.5}, "source": {"procedural": {"width": 80}}, "path": "elsewhere"}
    dataset = load_dataset(folder.dataset("house", {"kitchen": {}, "attic": scene}))
    kitchen, attic = dataset.scenes["kitchen"], dataset.scenes["attic"]
    assert (kitchen.source.path, attic.source.path) == ("kitchen", "elsewhere")
    assert (attic.source.procedural.width, attic.source.procedural.height) == (80, 120)
    assert attic.protocol == kitchen.protocol.model_copy(update={"scale": 0.5})
    assert attic.settings["source"]["procedural"] == {"layout": "court", "width": 80, "height": 120}
    assert attic.settings != kitchen.settings


def test_what_does_not_decide_a_scene_is_not_among_its_settings(folder: Folder) -> None:
    before = load_dataset(folder.dataset("house", {"attic": {}})).scenes["attic"].settings
    archives = [{"url": "https://example.org/house.zip"}]
    source = {
        "kind": "procedural",
        "local": "here",
        "procedural": {"layout": "court", "width": 160, "height": 120},
        "archives": archives,
    }
    path = folder.dataset("house", {"attic": {"label": "A"}}, citation="someone", source=source)
    dataset = load_dataset(path)
    assert dataset.scenes["attic"].settings == before
    assert [archive.url for archive in dataset.archives] == [archive["url"] for archive in archives]


def test_paths_take_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/data")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert expand_path("${WHERE}/x", "f") == Path("/data/x")
    assert expand_path("${NOWHERE:-results/a}/x", "f") == Path("results/a/x")
    with pytest.raises(ConfigError, match="f: '.*NOWHERE.*' needs the environment variable NOWHERE"):
        expand_path("${NOWHERE}/x", "f")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "workflow/config/datasets").glob("*.yaml")), ids=lambda p: p.stem)
def test_data_sets_of_the_repository_state_licence_and_citation(path: Path) -> None:
    dataset = load_dataset(path)
    assert dataset.licence
    if dataset.archives:
        assert dataset.url
        assert dataset.citation


def test_the_papers_data_sets_follow_the_papers_protocol() -> None:
    folder = REPOSITORY / "workflow/config/datasets"
    counts = {"mipnerf360": 9, "tanksandtemples": 2, "deepblending": 2, "synthetic_nerf": 8}
    for name, count in counts.items():
        scenes = load_dataset(folder / f"{name}.yaml").scenes
        assert len(scenes) == count
        for scene in scenes.values():
            assert scene.protocol.background == (0, 0, 0)
            if name == "synthetic_nerf":
                assert scene.protocol.split.kind == "files"
                assert isinstance(scene.initial_points, RandomPoints) and scene.initial_points.num_points == 10000
            else:
                assert scene.protocol.max_width == 1600
                assert scene.protocol.split == EveryNth(kind="every_nth", n=8)
                assert scene.source.images == "images"


def test_captures_are_looked_for_unless_the_scene_is_prepared_or_can_be_fetched(folder: Folder, tmp_path: Path) -> None:
    def check(**source: Any) -> None:
        path = folder.dataset("house", {"attic": {}}, source={"kind": "colmap", **source})
        scenes = load_dataset(path).scenes.values()
        check_captures(scenes, tmp_path / "archives", tmp_path / "prepared")

    check(archives=[{"url": "https://example.org/house.zip"}])
    with pytest.raises(ConfigError, match="source.local is missing — set it to the folder"):
        check()
    with pytest.raises(ConfigError, match="needs the environment variable NOT_SET_ANYWHERE"):
        check(local="${NOT_SET_ANYWHERE}/house")
    with pytest.raises(ConfigError, match="the capture .*captures/attic of scene 'attic' does not exist"):
        check(local=str(tmp_path / "captures"))
    (tmp_path / "captures/attic").mkdir(parents=True)
    check(local=str(tmp_path / "captures"))
    (tmp_path / "prepared/house/attic").mkdir(parents=True)
    check(local=str(tmp_path / "elsewhere"))
