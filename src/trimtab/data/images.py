"""One picture: from the bytes of a file to the pixels a model reads.

Every format ends as uint8 grey or RGB, upright, on white where it was transparent. Sizes are read from the header
and limited before anything is decoded. Many pictures at once, and their cache, are not here.

Legend: ``H W C`` height, width, channels.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimtab.data.resampling import resample
from trimtab.errors import InputError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

MAXIMUM_PIXELS = 100_000_000
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"
_ORIENTATION = 0x0112  # EXIF tag


class PictureError(InputError):
    """A picture cannot be used; ``reason`` says why in a few words."""

    def __init__(self, given: str, expected: str, action: str, *, reason: str) -> None:
        super().__init__(given, expected, action)
        self.reason = reason


class PictureTooLargeError(PictureError):
    """A picture claims more pixels than are ever decoded, by mistake or to exhaust the memory."""


def decode_image(content: bytes, *, channels: int, name: str = "image", near: int | None = None) -> NDArray[np.uint8]:
    """Return the picture as uint8 [H, W, channels]: upright, 8 bits, RGB or grey, transparency over white.

    Parameters
    ----------
    content
        An encoded file: JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF (first page).
    channels
        1 (grey) or 3 (RGB).
    name
        Names the picture in errors.
    near
        When the picture will be shrunk to this size, a JPEG may be decoded at a half, quarter or eighth, as long
        as both sides stay at least twice ``near``.

    Raises
    ------
    ValueError
        If ``channels`` is not 1 or 3.
    PictureError
        If the content is no picture, is damaged, or has more than `MAXIMUM_PIXELS` pixels.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; expected 1 (grey) or 3 (RGB).")
    with open_header(content, name=name) as picture:
        try:
            if near is not None:
                picture.draft(None, (2 * near, 2 * near))  # does nothing to other formats
            picture.load()  # turns a TIFF upright by itself, and then says so
            return _orient(_to_array(picture, channels), _orientation(picture))
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise unreadable(name, _first_line(error)) from error


def open_header(content: bytes, *, name: str = "image") -> ImageFile.ImageFile:
    """Return the picture with its size and mode known and nothing decoded.

    Raises
    ------
    PictureError
        If the content is no picture, or has more than `MAXIMUM_PIXELS` pixels.
    """
    plugin = _plugin(content)
    if plugin is None:
        what = "it is empty" if not content else f"it is not {FORMATS}"
        raise unreadable(name, what)
    try:
        # The class, not Image.open: that warns about large pictures, and a warning cannot be silenced per thread.
        picture = plugin(BytesIO(content))
    except Exception as error:  # as above
        raise unreadable(name, _first_line(error)) from error
    width, height = picture.size
    if width * height > MAXIMUM_PIXELS:
        raise too_large(name, f"{width:,} x {height:,} pixels")
    return picture


def unreadable(name: str, reason: str) -> PictureError:
    """Return the error for a picture that cannot be decoded."""
    reason = reason.strip().rstrip(".") or "it is damaged"
    action = "convert or replace the file, or leave it out"
    return PictureError(f"the picture {name} cannot be read ({reason})", FORMATS, action, reason=reason)


def too_large(name: str, reason: str) -> PictureTooLargeError:
    """Return the error for a picture with too many pixels; the reason says how many."""
    limit = f"at most {MAXIMUM_PIXELS // 1_000_000} million pixels"
    given = f"the picture {name} has {reason}"
    return PictureTooLargeError(given, limit, "shrink it or leave it out", reason=reason)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:100]


def is_gray(picture: ImageFile.ImageFile) -> bool:
    """Return whether the header says that the picture has no color."""
    return picture.mode in ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")


def upright_size(picture: ImageFile.ImageFile) -> tuple[int, int]:
    """Return (height, width) after the rotation that EXIF asks for."""
    width, height = picture.size
    is_turned = _orientation(picture) >= 5 and picture.format != "TIFF"  # a TIFF says its upright size
    return (width, height) if is_turned else (height, width)


def resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the picture squashed to [size, size, C], antialiased bilinear; itself when it has that size."""
    return squash_image(image, size, size)


def squash_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the picture squashed to [height, width, C], antialiased bilinear; itself when it has that size.

    Where Pillow is not installed NumPy computes it, more slowly; see `trimtab.data.resampling`.
    """
    if image.shape[:2] == (height, width):
        return image
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return resample(image, height, width)
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    resized = Image.fromarray(flat).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized, dtype=np.uint8).reshape(height, width, image.shape[2])


def _plugin(content: bytes) -> type[ImageFile.ImageFile] | None:
    """Choose the decoder by the first bytes; formats that are not listed never reach a decoder."""
    if content.startswith(b"\xff\xd8\xff"):
        from PIL.JpegImagePlugin import JpegImageFile as Plugin
    elif content.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile as Plugin  # type: ignore[assignment]
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        from PIL.WebPImagePlugin import WebPImageFile as Plugin  # type: ignore[assignment]
    elif content.startswith(b"BM"):
        from PIL.BmpImagePlugin import BmpImageFile as Plugin  # type: ignore[assignment]
    elif content.startswith((b"GIF87a", b"GIF89a")):
        from PIL.GifImagePlugin import GifImageFile as Plugin  # type: ignore[assignment]
    elif content.startswith((b"II*\x00", b"MM\x00*")):
        from PIL.TiffImagePlugin import TiffImageFile as Plugin  # type: ignore[assignment]
    else:
        return None
    return Plugin


def _to_array(picture: ImageFile.ImageFile, channels: int) -> NDArray[np.uint8]:
    from PIL import Image

    flat: Image.Image = picture
    if picture.mode.startswith("I") or picture.mode == "F":
        flat = Image.fromarray(_to_8_bits(picture))
    elif picture.has_transparency_data:
        colored = picture.convert("RGBA")
        white = Image.new("RGBA", colored.size, "white")
        flat = Image.alpha_composite(white, colored).convert("RGB")
    elif picture.mode != "L" and picture.mode != "RGB":
        flat = picture.convert("L" if picture.mode == "1" else "RGB")
    mode = "L" if channels == 1 else "RGB"
    array = np.asarray(flat if flat.mode == mode else flat.convert(mode))
    return array.reshape(*array.shape[:2], channels)


def _to_8_bits(picture: Image.Image) -> NDArray[np.uint8]:
    """Scale grey 0..65535 to 0..255."""
    values = np.asarray(picture)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are not 8-bit or 16-bit numbers")
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _orientation(picture: ImageFile.ImageFile) -> int:
    try:
        found = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata does not make the pixels unreadable
        return 1
    return found if 1 <= found <= 8 else 1


def _orient(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn [H, W, C] upright; EXIF orientations 5 to 8 swap height and width."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.array(image, order="C")  # a copy: what Pillow gives cannot be written to
