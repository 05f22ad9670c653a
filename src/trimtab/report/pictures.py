"""Pictures as PNG files: one example, a first batch side by side, or mistakes with what was said about them."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.report.wording import percent
from trimtab.storage import write_bytes

_MOST_IN_A_GRID = 64
_GAP = 2  # pixels
_SIDE = 48  # pixels that a picture in a grid should come near to
_COLUMNS, _THUMBNAIL, _LINE, _MARGIN = 6, 160, 19, 18  # of a sheet, in pixels
_TEXT_COLORS = ("#1f2933", "#697586", "#697586")


def save_picture(image: NDArray[np.uint8], path: Path) -> None:
    """Write one picture, uint8 [H, W, C] with C of 1 or 3, as a PNG file; replaced when it exists."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, format="PNG")
    write_bytes(path, content.getvalue())


def save_grid(images: NDArray[np.uint8], path: Path) -> None:
    """Write the first pictures of a batch, at most 64, as one PNG file; small ones are enlarged to be seen.

    Parameters
    ----------
    images
        uint8 [B, H, W, C] with C of 1 or 3 and B of 1 at least.
    path
        Replaced when it exists.
    """
    images = images[:_MOST_IN_A_GRID]
    factor = max(1, _SIDE // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell_height, cell_width = height + _GAP, width + _GAP
    sheet = np.full((rows * cell_height - _GAP, columns * cell_width - _GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * cell_height, index % columns * cell_width
        sheet[top : top + height, left : left + width] = image
    save_picture(sheet, path)


def save_mistakes(images: Sequence[NDArray[np.uint8]], mistakes: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a sheet of mistakes as one PNG file: under each picture what was said, how surely, and the label.

    Parameters
    ----------
    images
        At least one, uint8 [H, W, C] each, of any size, with C of 1 or 3.
    mistakes
        As many, with ``predicted``, ``true`` and ``probability``.
    path
        Replaced when it exists.
    """
    captions = [
        (str(mistake["predicted"]), f"{percent(mistake['probability'])} sure", f"labeled {mistake['true']}")
        for mistake in mistakes
    ]
    save_sheet(images, captions, path)


def save_sheet(images: Sequence[NDArray[np.uint8]], captions: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Write pictures, six in a row, as one PNG file, each with three lines of text under it, the first one bold.

    Parameters
    ----------
    images
        At least one, uint8 [H, W, C] each, of any size, with C of 1 or 3.
    captions
        As many.
    path
        Replaced when it exists.
    """
    from PIL import Image, ImageDraw

    columns = min(_COLUMNS, len(images))
    width, height = _THUMBNAIL + _MARGIN, _THUMBNAIL + 3 * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (columns * width + _MARGIN, math.ceil(len(images) / columns) * height + _MARGIN), "white")
    draw, bold, plain = ImageDraw.Draw(sheet), _font("DejaVuSans-Bold"), _font("DejaVuSans")
    for index, (image, lines) in enumerate(zip(images, captions, strict=True)):
        left, top = _MARGIN + index % columns * width, _MARGIN + index // columns * height
        picture = _thumbnail(image)
        sheet.paste(picture, (left, top + (_THUMBNAIL - picture.height) // 2))
        for line, (text, font, color) in enumerate(zip(lines, (bold, plain, plain), _TEXT_COLORS, strict=True)):
            draw.text((left, top + _THUMBNAIL + 6 + line * _LINE), _fitting(text, font), fill=color, font=font)
    content = io.BytesIO()
    sheet.save(content, format="PNG")
    write_bytes(path, content.getvalue())


def _thumbnail(image: NDArray[np.uint8]) -> Any:
    """Return the picture at a size that fits: small ones in whole pixels, large ones smoothly."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    factor = _THUMBNAIL / max(picture.size)
    if factor >= 2:
        return picture.resize((picture.width * int(factor), picture.height * int(factor)), Image.Resampling.NEAREST)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _font(name: str) -> Any:
    """Return a font that comes with matplotlib and knows most alphabets."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), 13)


def _fitting(text: str, font: Any) -> str:
    """Return the text, cut and marked so when it is wider than a picture."""
    if font.getlength(text) <= _THUMBNAIL:
        return text
    while text and font.getlength(f"{text}…") > _THUMBNAIL:
        text = text[:-1]
    return f"{text}…"
