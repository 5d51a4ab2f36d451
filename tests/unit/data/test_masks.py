"""Masks from captures to prepared scenes: where they are found, how they are resized, and what they hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.data.images import load_mask, resize, resize_mask
from hemgs.data.loader import load_scene
from hemgs.data.prepare import prepare_scene
from tests.unit.data.capture_builders import HEIGHT, WIDTH, blender_capture, colmap_capture, dataset

FILTERS = ["nearest", "box", "bilinear", "bicubic", "lanczos"]


def some_mask(seed: int = 0) -> NDArray[np.bool_]:
    """Half of the image and a few single pixels are hidden."""
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) > 0.02
    mask[:, : WIDTH // 2] = False
    return mask


def save(mask: NDArray[np.bool_], path: Path, level: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * level).save(path)


def masked_colmap(root: Path, pattern: str = "masks/{name}.png") -> Path:
    colmap_capture(root)
    for index, image in enumerate(sorted((root / "images").iterdir())):
        save(some_mask(index), root / pattern.format(name=image.name, stem=image.stem))
    return root


def masked_blender(root: Path) -> Path:
    blender_capture(root)
    for path in root.glob("transforms_*.json"):
        record = json.loads(path.read_text())
        for index, frame in enumerate(record["frames"]):
            frame["mask_path"] = f"masks/{path.stem}_{index}.png"
            save(some_mask(index), root / frame["mask_path"])
        path.write_text(json.dumps(record))
    return root


def run(root: Path, out: Path, kind: str = "colmap", **sections: Any) -> Scene:
    return prepare_scene(dataset(kind, root, **sections), "thing", out, events=EventLog())


def paint_hidden(root: Path, color: tuple[int, int, int]) -> None:
    """Change the hidden pixels of every image, and no other."""
    for index, path in enumerate(sorted((root / "images").iterdir())):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[~some_mask(index)] = color
        Image.fromarray(pixels).save(path)


# Files


@pytest.mark.parametrize("level", [1, 128, 255])
def test_every_level_but_zero_is_visible(tmp_path: Path, level: int) -> None:
    save(some_mask(), tmp_path / "a.png", level)
    np.testing.assert_array_equal(load_mask(tmp_path / "a.png"), some_mask())


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_modes_of_masks(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(some_mask().astype(np.uint8) * 255).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "a.png"), some_mask())


def test_one_channel_suffices_to_be_visible(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 0, 0], [0, 0, 3]]], np.uint8)).save(tmp_path / "a.png")
    assert load_mask(tmp_path / "a.png").tolist() == [[False, True]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_masks_with_transparency_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(SceneError, match=rf"mask .*a\.png has the pixel format {mode}.*0 hides a pixel"):
        load_mask(tmp_path / "a.png")


def test_jpeg_masks_are_refused_because_their_zeros_are_not_exact(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(SceneError, match=r"mask .*a\.png has the format JPEG; PNG can be read — convert it to PNG"):
        load_mask(tmp_path / "a.png")


# Resizing


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(FILTERS),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    st.integers(0, 2**32 - 1),
)
def test_no_visible_pixel_depends_on_a_hidden_one(
    filter_name: str, sides: tuple[int, int], factors: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    height, width = sides
    size = (max(1, int(width * factors[0])), max(1, int(height * factors[1])))
    mask = rng.random((height, width)) > 0.05
    first = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    second = np.where(mask[..., None], first, rng.integers(0, 256, first.shape)).astype(np.uint8)
    visible = resize_mask(mask, size, filter_name)
    assert visible.shape == size[::-1]
    a, b = (resize(image, size, filter_name) for image in (first, second))
    np.testing.assert_array_equal(a[visible], b[visible])


@pytest.mark.parametrize("filter_name", FILTERS)
def test_only_pixels_near_hidden_ones_are_hidden(filter_name: str) -> None:
    mask = np.ones((60, 80), np.bool_)
    assert resize_mask(mask, (31, 17), filter_name).all()
    assert resize_mask(mask, (80, 60), filter_name) is mask
    mask[:, :40] = False
    reach = {"nearest": 0, "box": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}[filter_name]
    small = resize_mask(mask, (40, 30), filter_name)
    assert small[0].tolist() == [False] * (20 + reach) + [True] * (20 - reach)
    assert (small == small[0]).all()


# Captures


COLMAP_PATTERNS = ["masks/{name}.png", "masks/{stem}.png"]


@pytest.mark.parametrize("pattern", COLMAP_PATTERNS)
def test_masks_of_a_colmap_capture_are_found(tmp_path: Path, pattern: str) -> None:
    scene = run(masked_colmap(tmp_path / "capture", pattern), tmp_path / "out")
    for index, view in enumerate(scene.views):
        np.testing.assert_array_equal(scene.read_mask(view), some_mask(index))


def test_masks_of_images_in_folders(tmp_path: Path) -> None:
    root = colmap_capture(tmp_path / "capture")
    text = (root / "sparse/0/images.txt").read_text()
    (root / "sparse/0/images.txt").write_text(text.replace("view_", "left/view_"))
    (root / "images").rename(root / "left")
    (root / "images").mkdir()
    (root / "left").rename(root / "images/left")
    save(some_mask(), root / "masks/left/view_04.png.png")
    scene = run(root, tmp_path / "out")
    assert [view.name for view in scene.views if view.mask] == ["left_view_04"]


def test_masks_that_frames_name_are_used(tmp_path: Path) -> None:
    scene = run(masked_blender(tmp_path / "capture"), tmp_path / "out", "blender")
    assert all(view.mask is not None for view in scene.views)
    masks = {view.name: scene.read_mask(view) for view in scene.views}
    np.testing.assert_array_equal(masks["train_r_3"], some_mask(3))


def test_one_mask_may_serve_every_frame(tmp_path: Path) -> None:
    """The hood of a car, the tripod of a camera."""
    root = blender_capture(tmp_path / "capture")
    save(some_mask(), root / "hood.png")
    for path in root.glob("transforms_*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_path": "hood.png"}))
    scene = run(root, tmp_path / "out", "blender")
    for view in scene.views:
        np.testing.assert_array_equal(scene.read_mask(view), some_mask())


@pytest.mark.parametrize("kind", ["colmap", "blender"])
def test_null_ignores_all_masks(tmp_path: Path, kind: str) -> None:
    root = (masked_colmap if kind == "colmap" else masked_blender)(tmp_path / "capture")
    plain = (colmap_capture if kind == "colmap" else blender_capture)(tmp_path / "plain")
    scene = run(root, tmp_path / "a", kind, source={"masks": None})
    assert scene.hash == run(plain, tmp_path / "b", kind).hash


def test_a_view_without_a_mask_counts_in_full(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture")
    (root / "masks/view_02.png.png").unlink()
    with EventLog(tmp_path / "events.jsonl") as events:
        scene = prepare_scene(dataset("colmap", root), "thing", tmp_path / "out", events=events)
    assert [view.name for view in scene.views if view.mask is None] == ["view_02"]
    assert scene.read_mask(scene.views[2]) is None
    logged = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {"event": "masks", "num_views": 8} in logged


def test_a_scene_without_masks_is_as_before(tmp_path: Path) -> None:
    root = colmap_capture(tmp_path / "capture")
    first = run(root, tmp_path / "a")
    (root / "masks").mkdir()
    (root / "masks/.DS_Store").write_text("")
    assert run(root, tmp_path / "b").hash == first.hash
    assert "mask" not in (tmp_path / "a/scene.json").read_text()
    assert not (tmp_path / "a/masks").exists()
    assert all(view.mask is None and first.read_mask(view) is None for view in first.views)


@pytest.mark.parametrize(
    "protocol", [{}, {"scale": 0.7, "filter": "lanczos"}, {"scale": 0.5, "background": [1, 0, 0.2]}]
)
def test_hidden_pixels_leave_no_trace_in_the_scene(tmp_path: Path, protocol: dict[str, Any]) -> None:
    root = masked_colmap(tmp_path / "capture")
    first = run(root, tmp_path / "a", protocol=protocol)
    for color in ((255, 0, 255), (0, 255, 0)):
        paint_hidden(root, color)
        assert run(root, tmp_path / "b", protocol=protocol).hash == first.hash
    for view in first.views:
        mask, image = first.read_mask(view), first.read_image(view)
        assert mask is not None
        assert mask.any()
        np.testing.assert_allclose(image[~mask], np.broadcast_to(first.background, image[~mask].shape), atol=0.51 / 255)


def test_the_hash_depends_on_masks(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture")
    first = run(root, tmp_path / "a")
    mask = some_mask(4)
    mask[20, 40] ^= True
    save(mask, root / "masks/view_04.png.png")
    # The pixel is black, as the background is: only the mask differs.
    pixels = np.asarray(Image.open(root / "images/view_04.png")).copy()
    assert some_mask(4)[20, 40]
    pixels[20, 40] = 0
    Image.fromarray(pixels).save(root / "images/view_04.png")
    second = run(root, tmp_path / "b")
    save(some_mask(4), root / "masks/view_04.png.png")
    third = run(root, tmp_path / "c")
    assert len({first.hash, second.hash, third.hash}) == 3


def test_the_same_masked_scene_is_left_alone(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture")
    run(root, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    run(root, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    (tmp_path / "out/masks/view_03.png").unlink()
    run(root, tmp_path / "out")
    assert (tmp_path / "out/masks/view_03.png").is_file()


# Faults


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture")
    save(some_mask()[::2, ::2], root / "masks/view_04.png.png")
    with pytest.raises(
        SceneError, match=r"view_04\.png\.png is 24x18, but its image .* is 48x36.*source\.masks to null"
    ):
        run(root, tmp_path / "out")


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_mask_that_hides_everything(tmp_path: Path, scale: float) -> None:
    root = masked_colmap(tmp_path / "capture")
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[3, 5] = scale < 1.0  # a single pixel does not survive
    save(mask, root / "masks/view_04.png.png")
    with pytest.raises(SceneError, match=r"view_04\.png\.png hides every pixel of its image"):
        run(root, tmp_path / "out", protocol={"scale": scale})


def test_masks_that_belong_to_no_image(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture", "masks/mask_of_{name}")
    with pytest.raises(SceneError, match=r"masks contains no mask of any image, such as view_00\.png\.png.*null"):
        run(root, tmp_path / "out")


def test_a_mask_that_a_frame_names_and_that_is_missing(tmp_path: Path) -> None:
    root = masked_blender(tmp_path / "capture")
    (root / "masks/transforms_train_2.png").unlink()
    with pytest.raises(SceneError, match=r"1 of 6 .* do not exist: .*transforms_train_2\.png.*source\.masks to null"):
        run(root, tmp_path / "out", "blender")


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png"])
def test_a_mask_outside_the_capture(tmp_path: Path, name: str) -> None:
    root = masked_blender(tmp_path / "capture")
    path = root / "transforms_test.json"
    path.write_text(path.read_text().replace("masks/transforms_test_1.png", name))
    with pytest.raises(SceneError, match="outside"):
        run(root, tmp_path / "out", "blender")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    run(masked_colmap(tmp_path / "capture"), tmp_path / "out")
    return tmp_path / "out"


def test_an_altered_mask_is_noticed(prepared: Path) -> None:
    scene = load_scene(prepared)
    save(~some_mask(3), prepared / "masks/view_03.png")
    with pytest.raises(SceneError, match=r"masks/view_03\.png was altered"):
        scene.read_mask(scene.views[3])
    np.testing.assert_array_equal(scene.read_mask(scene.views[4]), some_mask(4))


def test_a_missing_mask_is_noticed(prepared: Path) -> None:
    (prepared / "masks/view_03.png").unlink()
    with pytest.raises(SceneError, match=r"do not exist: .*masks/view_03\.png"):
        load_scene(prepared)


@pytest.mark.parametrize("change", ["dropped", "partly dropped", "other pixels", "leads out"])
def test_an_altered_record_of_masks_is_noticed(prepared: Path, change: str) -> None:
    record = json.loads((prepared / "scene.json").read_text())
    entry = record["views"][3]
    if change == "dropped":
        del entry["mask"]
    elif change == "partly dropped":
        del entry["mask"]["sha256"]
    elif change == "other pixels":
        entry["mask"]["pixels_sha256"] = "0" * 64
    else:
        entry["mask"]["file"] = "../capture/masks/view_03.png.png"
    (prepared / "scene.json").write_text(json.dumps(record))
    with pytest.raises(SceneError, match=r"hash differs|'sha256'|outside"):
        load_scene(prepared)
