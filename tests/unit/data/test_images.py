from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemgs.core.errors import SceneError
from hemgs.data.images import composite, image_size, load_rgb, resize

BLACK = (0.0, 0.0, 0.0)


def save(path: Path, levels: np.ndarray, mode: str) -> Path:
    Image.fromarray(levels.astype(np.uint8), mode).save(path)
    return path


def test_rgb_is_unchanged(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, 3))
    np.testing.assert_array_equal(load_rgb(save(tmp_path / "a.png", levels, "RGB"), (1.0, 0.5, 0.0)), levels)


def test_grey_and_palette_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(
        load_rgb(save(tmp_path / "g.png", grey, "L"), BLACK), np.repeat(grey[..., None], 3, 2)
    )
    rgb = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4)
    rgb.save(tmp_path / "p.png")
    assert load_rgb(tmp_path / "p.png", BLACK)[0, 0].tolist() == [10, 200, 30]


def test_alpha_is_composited_in_display_space() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    assert composite(rgba, (1.0, 0.0, 0.5)).tolist() == [[[200, 100, 0], [255, 0, 128], [244, 20, 102]]]
    assert composite(rgba, BLACK).tolist() == [[[200, 100, 0], [0, 0, 0], [40, 20, 0]]]


@given(st.tuples(*[st.integers(0, 255)] * 4), st.tuples(*[st.floats(0, 1)] * 3))
def test_composite_lies_between_colour_and_background(
    pixel: tuple[int, ...], background: tuple[float, float, float]
) -> None:
    result = composite(np.array([[pixel]], np.uint8), background)[0, 0]
    for value, color, behind in zip(result.tolist(), pixel, background, strict=False):
        assert min(color, 255 * behind) - 0.5 <= value <= max(color, 255 * behind) + 0.5


def test_the_orientation_tag_is_not_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert load_rgb(tmp_path / "turned.jpg", BLACK).shape == (4, 6, 3)
    assert image_size(tmp_path / "turned.jpg") == (6, 4)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.97])
def test_cut_files(tmp_path: Path, suffix: str, keep: float) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    path = save(tmp_path / f"cut{suffix}", levels, "RGB")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(SceneError, match=f"cut{suffix} cannot be decoded.*again"):
        load_rgb(path, BLACK)


def test_png_with_a_flipped_byte(tmp_path: Path) -> None:
    path = save(tmp_path / "flipped.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3)), "RGB")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(SceneError, match="cannot be decoded"):
        load_rgb(path, BLACK)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="does not exist"):
        load_rgb(tmp_path / "none.png", BLACK)


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>not found</html>")
    with pytest.raises(SceneError, match="cannot be decoded"):
        load_rgb(tmp_path / "page.png", BLACK)
    with pytest.raises(SceneError, match="cannot be decoded"):
        image_size(tmp_path / "page.png")


def test_a_claimed_size_beyond_reason_is_refused(tmp_path: Path) -> None:
    """A PNG header of 100,000 × 100,000 pixels must not allocate 30 GB."""
    import struct
    import zlib

    body = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(SceneError, match="cannot be decoded"):
        load_rgb(tmp_path / "bomb.png", BLACK)


def test_sixteen_bits_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(SceneError, match=r"I;16.*8-bit"):
        load_rgb(tmp_path / "deep.png", BLACK)


def test_resize() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    assert resize(image, (40, 30), "bicubic") is image
    small = resize(image, (20, 15), "box")
    assert small.shape == (15, 20, 3)
    means = image.reshape(15, 2, 20, 2, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=1.01)  # Pillow rounds after each axis
    assert not np.array_equal(resize(image, (20, 15), "bicubic"), small)
