from __future__ import annotations

import struct
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemgs.core import images
from hemgs.core.errors import DeviceError, SceneError
from hemgs.data.images import composite, image_size, load_rgb, orientation, resize

REPOSITORY = Path(__file__).parents[3]
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


def test_a_tall_image_is_composited_to_its_last_row() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (700, 3, 4)).astype(np.uint8)
    expected = rgba[..., :3] * (rgba[..., 3:] / 255.0) + 51.0 * (1 - rgba[..., 3:] / 255.0)
    np.testing.assert_array_equal(composite(rgba, (0.2, 0.2, 0.2)), np.rint(expected))


@given(st.tuples(*[st.integers(0, 255)] * 4), st.tuples(*[st.floats(0, 1)] * 3))
def test_composite_lies_between_colour_and_background(
    pixel: tuple[int, ...], background: tuple[float, float, float]
) -> None:
    result = composite(np.array([[pixel]], np.uint8), background)[0, 0]
    for value, color, behind in zip(result.tolist(), pixel, background, strict=False):
        assert min(color, 255 * behind) - 0.5 <= value <= max(color, 255 * behind) + 0.5


def tagged(path: Path, tag: int, size: tuple[int, int] = (6, 4)) -> Path:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.new("RGB", size).save(path, exif=exif)
    return path


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_orientation_tag_is_read_and_not_applied(tmp_path: Path, tag: int, suffix: str) -> None:
    path = tagged(tmp_path / f"turned.{suffix}", tag)
    assert load_rgb(path, BLACK).shape == (4, 6, 3)
    assert image_size(path) == (6, 4)
    assert orientation(path) == tag


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_tiff_file_with_an_orientation_is_refused(tmp_path: Path, tag: int) -> None:
    """Pillow turns its pixels, unlike those of all other formats."""
    path = tagged(tmp_path / "turned.tif", tag)
    if tag == 1:
        assert load_rgb(path, BLACK).shape == (4, 6, 3)
        return
    for read in (image_size, lambda path: load_rgb(path, BLACK)):
        with pytest.raises(SceneError, match=rf"turned\.tif is a TIFF file with the orientation tag {tag}.*upright"):
            read(path)


@pytest.mark.parametrize("tag", [0, 9, 6000])
def test_other_orientation_tags_mean_nothing(tmp_path: Path, tag: int) -> None:
    assert orientation(tagged(tmp_path / "turned.jpg", tag)) == 1
    assert orientation(save(tmp_path / "plain.png", np.zeros((4, 6, 3)), "RGB")) == 1


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


def png_header(path: Path, width: int, height: int, *, bits: int = 8, color: int = 2) -> Path:
    """Write a PNG whose pixels are missing."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", bytes(8))):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("side", [13_000, 100_000])
def test_a_claimed_size_beyond_reason_is_refused_before_pixels_are_decoded(tmp_path: Path, side: int) -> None:
    tracemalloc.start()
    with pytest.raises(SceneError, match=r"bomb\.png.*"):
        load_rgb(png_header(tmp_path / "bomb.png", side, side, color=6), BLACK)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    if side == 13_000:
        with pytest.raises(SceneError, match="is 13000x13000; images of at most 120,000,000 pixels"):
            image_size(tmp_path / "bomb.png")


def test_the_largest_images_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 4 * 6)
    levels = np.zeros((4, 6, 3))
    assert load_rgb(save(tmp_path / "a.png", levels, "RGB"), BLACK).shape == (4, 6, 3)
    with pytest.raises(SceneError, match="is 6x5; images of at most 24 pixels"):
        load_rgb(save(tmp_path / "b.png", np.zeros((5, 6, 3)), "RGB"), BLACK)
    assert image_size(save(tmp_path / "c.png", levels, "RGB")) == (6, 4)
    monkeypatch.setattr(images, "MAX_PIXELS", 120_000_000)
    assert image_size(png_header(tmp_path / "wide.png", 12_000, 9_000)) == (12_000, 9_000)
    assert not recwarn.list


def test_memory_that_does_not_suffice_is_an_error_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", np.zeros((4, 6, 4)), "RGBA")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(DeviceError, match="6x4 pixels does not fit into memory"):
        load_rgb(path, BLACK)


@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_sixteen_bits_of_png_are_refused(tmp_path: Path, color: int) -> None:
    """Pillow reads the RGB ones as 8 bits without a word."""
    path = png_header(tmp_path / "deep.png", 4, 4, bits=16, color=color)
    for read in (image_size, lambda path: load_rgb(path, BLACK)):
        with pytest.raises(SceneError, match=r"deep\.png has 16 bits per channel.*8-bit"):
            read(path)


def sixteen_bit_tiff(path: Path, channels: int) -> Path:
    """Write a TIFF of 4 x 4 pixels by hand, since Pillow writes no RGB of 16 bits."""
    pixels = bytes(4 * 4 * channels * 2)
    depths = struct.pack(f"<{channels}H", *[16] * channels)
    depth_value = struct.unpack("<I", depths.ljust(4, b"\0")[:4])[0] if channels == 1 else 8 + len(pixels)
    tags = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, channels, depth_value), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 2 if channels > 1 else 1), (273, 4, 1, 8), (277, 3, 1, channels), (279, 4, 1, len(pixels))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    start = 8 + len(pixels) + len(depths)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + pixels + depths + directory)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_of_tiff_are_refused(tmp_path: Path, channels: int) -> None:
    with pytest.raises(SceneError, match=r"deep\.tif has 16 bits per channel"):
        load_rgb(sixteen_bit_tiff(tmp_path / "deep.tif", channels), BLACK)


def test_thumbnails_of_raw_photographs_are_not_taken_for_them(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.dng", "TIFF", tiffinfo={254: 1})
    for read in (image_size, lambda path: load_rgb(path, BLACK)):
        with pytest.raises(SceneError, match=r"a\.dng begins with a thumbnail, as raw photographs do"):
            read(tmp_path / "a.dng")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP", "MPO"])
def test_formats_are_known_by_their_contents(tmp_path: Path, name: str) -> None:
    """Phones write MPO, a JPEG with a second image behind it, under the suffix .jpg."""
    Image.new("RGB", (20, 10), (90, 120, 30)).save(tmp_path / "a.jpg", name)
    assert np.abs(load_rgb(tmp_path / "a.jpg", BLACK).astype(int) - [90, 120, 30]).max() <= 3


HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heicMiHE" + bytes(64)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (HEIC, "HEIC"),
        (HEIC.replace(b"ftypheic", b"ftypavif"), "AVIF"),
        (HEIC.replace(b"ftypheic", b"ftypqt  "), "video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "PostScript"),
        (b"GIF89a" + bytes(40), "GIF"),
        (b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + bytes(40), "ICO"),
        (b"8BPS" + bytes(40), "Photoshop"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "a.png").write_bytes(head)
    for read in (image_size, lambda path: load_rgb(path, BLACK)):
        with pytest.raises(
            SceneError, match=rf"a\.png has the format {name}; JPEG, PNG, TIFF, WEBP can be read.*JPEG or PNG"
        ):
            read(tmp_path / "a.png")


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives PostScript to Ghostscript, whatever the suffix."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(SceneError, match="PostScript"):
        load_rgb(tmp_path / "a.png", BLACK)


@pytest.mark.parametrize(
    ("pointer", "fix"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1\n", "git lfs pull"),
        ("/annex/objects/SHA256E-s123456--" + "ab" * 32 + ".png\n", "git annex get"),
    ],
)
def test_pointers_of_large_files_are_named(tmp_path: Path, pointer: str, fix: str) -> None:
    (tmp_path / "a.png").write_text(pointer)
    with pytest.raises(SceneError, match=rf"a\.png is a .* pointer.*{fix}"):
        load_rgb(tmp_path / "a.png", BLACK)


def test_images_are_opened_in_one_place_only() -> None:
    """So that formats and sizes are checked for all of them."""
    found = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("hemgs", "baselines")
        for path in (REPOSITORY / folder).rglob("*.py")
        if "Image.open(" in path.read_text(encoding="utf-8")
    ]
    assert found == ["hemgs/core/images.py"]


def test_resize() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    assert resize(image, (40, 30), "bicubic") is image
    small = resize(image, (20, 15), "box")
    assert small.shape == (15, 20, 3)
    means = image.reshape(15, 2, 20, 2, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=1.01)  # Pillow rounds after each axis
    assert not np.array_equal(resize(image, (20, 15), "bicubic"), small)
