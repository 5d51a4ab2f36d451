"""Opening of image files, wherever they come from.

Owns the formats that are opened, the largest size, and clear words for files that are something else. Pillow alone
would choose a format by the contents: a PostScript file starts Ghostscript, and a small icon may claim gigabytes. Does
not own colours and transparency (``hemgs.data.images``).
"""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from typing import IO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from hemgs.core.errors import DeviceError
from hemgs.core.pointers import pointer_fault

#: Formats that are opened, by their names in Pillow.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
#: Largest number of pixels of an image. It exceeds the sensors of cameras and phones with 108 megapixels. With four
#: channels, the decoded pixels take 480 MB.
MAX_PIXELS = 120_000_000
#: Bytes of the header that are looked at here.
_HEAD_BYTES = 64
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Offset of the bits per channel in a PNG file (ISO/IEC 15948, IHDR).
_PNG_DEPTH_AT = 24
#: Tag of the bits per channel in a TIFF file (TIFF 6.0, BitsPerSample).
_TIFF_DEPTH_TAG = 258
#: Tag whose lowest bit marks an image of reduced resolution (TIFF 6.0, NewSubfileType), the first one of DNG and NEF.
_TIFF_SUBFILE_TAG = 254
#: Tag of the orientation of photographs (Exif 2.3), also in TIFF files.
ORIENTATION_TAG = 0x0112
#: First bytes of files, and the format's name; formats that may be opened have Pillow's name.
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (_PNG_SIGNATURE, "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"RIFF", "WEBP"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "Photoshop"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"<svg", "SVG"),
)
#: The same for files in ISO base media format, by their brand.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "Canon raw",
}
#: Exceptions that Pillow raises on damaged files; they depend on the format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class ImageError(Exception):
    """An image that cannot be read.

    Attributes:
        fault: what is wrong, to follow the name of the file.
        fix: what to do.
    """

    def __init__(self, fault: str, fix: str) -> None:
        super().__init__(f"{fault} — {fix}")
        self.fault, self.fix = fault, fix


@contextlib.contextmanager
def opened_image(file: IO[bytes], formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image for the block. Its header is checked before any pixel is decoded.

    Args:
        file: binary, at its beginning.
        formats: those that may be opened.

    Raises:
        ImageError: the file is another format or damaged, or has too many pixels or more than 8 bits per channel; or
            the block meets damage.
        DeviceError: the block needs more memory than there is.
    """
    size = ""
    try:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            image = Image.open(file, formats=formats)
        with image:
            size = f"{image.width}x{image.height}"
            _check_header(image, head)
            yield image
    except _DAMAGE as fault:
        raise _undecodable(head, formats, fault) from fault
    except MemoryError as fault:
        raise DeviceError(
            f"an image of {size or 'unknown size'} pixels does not fit into memory", "free memory, or make it smaller"
        ) from fault


def _check_header(image: Image.Image, head: bytes) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"is {image.width}x{image.height}; images of at most {MAX_PIXELS:,} pixels are read", "make it smaller"
        )
    depths: tuple[int, ...] = (8,)
    if head.startswith(_PNG_SIGNATURE):
        depths = (head[_PNG_DEPTH_AT],)
    elif isinstance(image, TiffImageFile):
        depths = tuple(image.tag_v2.get(_TIFF_DEPTH_TAG, (1,)))
        tag = image.tag_v2.get(ORIENTATION_TAG, 1)
        if tag != 1:  # Pillow turns these images, and only these; other programs do not
            raise ImageError(f"is a TIFF file with the orientation tag {tag}", "save it upright, without the tag")
        if image.tag_v2.get(_TIFF_SUBFILE_TAG, 0) & 1:
            raise ImageError("begins with a thumbnail, as raw photographs do", "convert it to JPEG or PNG")
    if max(depths) > 8:
        raise ImageError(f"has {max(depths)} bits per channel", "convert it to 8-bit RGB, RGBA or grey")


def _undecodable(head: bytes, formats: tuple[str, ...], fault: Exception) -> ImageError:
    pointer = pointer_fault(head)
    if pointer is not None:
        return ImageError(*pointer)
    name = _format_name(head)
    if name and name not in formats:
        return ImageError(
            f"has the format {name}; {', '.join(formats)} can be read", f"convert it to {' or '.join(formats[:2])}"
        )
    reason = "not an image of a known format" if isinstance(fault, Image.UnidentifiedImageError) else str(fault)
    return ImageError(f"cannot be decoded ({reason})", "copy or export it again")


def _format_name(head: bytes) -> str:
    """Return the name of the format that the first bytes of a file belong to; empty if they belong to none."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")
