import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from trimtab.data import decode_image, resize_image
from trimtab.data.images import PictureTooLargeError, open_header, upright_size
from trimtab.errors import InputError

MODES = [
    ("RGB", "JPEG"),
    ("L", "JPEG"),
    ("CMYK", "JPEG"),
    ("RGB", "PNG"),
    ("RGBA", "PNG"),
    ("LA", "PNG"),
    ("P", "PNG"),
    ("1", "PNG"),
    ("L", "PNG"),
    ("RGB", "WEBP"),
    ("RGBA", "WEBP"),
    ("RGB", "BMP"),
    ("L", "BMP"),
    ("P", "GIF"),
    ("RGB", "TIFF"),
    ("CMYK", "TIFF"),
]


def save(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("mode", "file_format"), MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_and_format_becomes_uint8(mode: str, file_format: str, channels: int, encode) -> None:
    content = encode(mode, file_format)
    image = decode_image(content, channels=channels)
    expected = Image.open(io.BytesIO(content)).convert("RGBA").convert("RGB").convert("L" if channels == 1 else "RGB")
    assert image.shape == (20, 30, channels)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert np.abs(image.astype(int) - np.asarray(expected).reshape(image.shape)).max() <= 1


def test_transparency_is_laid_over_white() -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = [255, 0, 0, 255]
    pixels[0, 1] = [255, 0, 0, 128]
    image = decode_image(save(Image.fromarray(pixels)), channels=3)
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, 1].tolist() == [255, 127, 127]
    assert image[1, 1].tolist() == [255, 255, 255]


def test_transparent_palette_is_laid_over_white() -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    image = decode_image(save(picture, transparency=0), channels=3)
    assert image[0].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_to_8_bits(file_format: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    image = decode_image(save(Image.fromarray(values), file_format), channels=1)
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_fractional_pixels_are_refused() -> None:
    content = save(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF")
    with pytest.raises(InputError) as caught:
        decode_image(content, channels=1, name="a/b.tiff")
    assert str(caught.value) == (
        "the picture a/b.tiff cannot be read (its values are not 8-bit or 16-bit numbers); "
        "expected JPEG, PNG, WebP, BMP, GIF or TIFF; convert or replace the file, or leave it out."
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_undone(orientation: int, file_format: str, encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode("RGB", file_format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert (decode_image(content, channels=3) == expected).all()
    assert upright_size(open_header(content)) == expected.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_does_not_make_a_picture_unreadable(encode) -> None:
    content = encode("RGB", "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff garbage")
    assert decode_image(content, channels=3).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not JPEG, PNG, WebP, BMP, GIF or TIFF"),
        (b"MM\0*" + bytes(400), "no more images in TIFF file"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(content: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_image(content, channels=3, name="cat/1.jpg")
    assert str(caught.value).startswith(f"the picture cat/1.jpg cannot be read ({reason}")
    assert str(caught.value).endswith(
        "; expected JPEG, PNG, WebP, BMP, GIF or TIFF; convert or replace the file, or leave it out."
    )


@pytest.mark.parametrize(("mode", "file_format"), [("RGB", "JPEG"), ("RGB", "PNG"), ("RGB", "WEBP"), ("RGB", "BMP")])
def test_truncated_picture_is_refused(mode: str, file_format: str, encode) -> None:
    content = encode(mode, file_format)
    with pytest.raises(InputError, match="the picture image cannot be read"):
        decode_image(content[: len(content) // 2], channels=3)


def test_noise_after_every_magic_is_refused_without_a_crash() -> None:
    rng = np.random.default_rng(0)
    magics = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"GIF89a", b"II*\0", b"MM\0*"]
    for magic in magics:
        for _ in range(20):
            with pytest.raises(InputError):
                decode_image(magic + rng.bytes(200), channels=3)


@pytest.mark.parametrize("size", [(40_000, 40_000), (10_001, 10_000)])
def test_pixel_bomb_is_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(PictureTooLargeError) as caught:
        decode_image(png_header(*size), channels=3, name="bomb.png")
    assert str(caught.value) == (
        f"the picture bomb.png has {size[0]:,} x {size[1]:,} pixels; expected at most 100 million pixels; "
        "shrink it or leave it out."
    )


def test_large_picture_below_the_limit_gives_no_warning() -> None:
    assert open_header(png_header(10_000, 9_999)).size == (10_000, 9_999)


def test_channels_other_than_1_and_3_are_refused(encode) -> None:
    with pytest.raises(ValueError, match=r"^channels is 4; expected 1 \(grey\) or 3 \(RGB\)\.$"):
        decode_image(encode(), channels=4)


@pytest.mark.parametrize(("near", "expected"), [(25, (50, 75)), (26, (100, 150)), (60, (200, 300)), (1000, (400, 600))])
def test_jpeg_decoded_near_a_size_keeps_twice_that(near: int, expected: tuple[int, int]) -> None:
    content = save(Image.new("RGB", (600, 400), "red"), "JPEG")
    assert decode_image(content, channels=3, near=near).shape[:2] == expected


def test_png_is_decoded_in_full_near_any_size(encode) -> None:
    assert decode_image(encode(), channels=3, near=2).shape == (20, 30, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_equals_pillow(channels: int, encode) -> None:
    image = decode_image(encode(), channels=channels)
    flat = image[:, :, 0] if channels == 1 else image
    expected = np.asarray(Image.fromarray(flat).resize((8, 8), Image.Resampling.BILINEAR)).reshape(8, 8, channels)
    assert (resize_image(image, 8) == expected).all()


def test_resize_to_the_same_size_is_the_same_array() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    assert resize_image(image, 8) is image
