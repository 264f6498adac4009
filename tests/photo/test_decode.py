"""Every format a camera or an editor writes comes out as the same upright float sRGB, or is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from backend.artifacts import Photo, Run
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.photo import decode
from backend.photo.decode import decode_photo, load_photo

W, H = 96, 80


def _scene() -> np.ndarray:
    """Smooth colours without symmetry, so that a wrong turn or channel order shows."""
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([30 + 2 * x, 40 + 2 * y, 200 - x - y // 2], axis=-1).clip(0, 255).astype(np.uint8)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _decode(data: bytes, name: str = "a.img") -> tuple[Photo, list[str]]:
    run = Run()
    photo = decode_photo(data, name, run)
    assert photo.rgb_srgb.dtype == np.float32
    assert photo.rgb_srgb.flags["C_CONTIGUOUS"]
    assert 0.0 <= photo.rgb_srgb.min() <= photo.rgb_srgb.max() <= 1.0
    return photo, run.warnings


def _levels(photo: Photo) -> np.ndarray:
    return photo.rgb_srgb * 255.0


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0.01),
        ("TIFF", {}, 0.01),
        ("TIFF", {"compression": "tiff_lzw"}, 0.01),
        ("WEBP", {"lossless": True}, 0.01),
        ("WEBP", {"quality": 95}, 8),
        ("JPEG", {"quality": 97, "subsampling": 0}, 4),
        ("JPEG", {"quality": 97, "progressive": True}, 6),
    ],
)
def test_formats(kind: str, options: dict[str, object], tolerance: float) -> None:
    data = _encode(Image.fromarray(_scene()), kind, **options)
    photo, warnings = _decode(data, "some.photo.x")
    assert np.abs(_levels(photo) - _scene()).max() < tolerance
    assert photo.sha256 == hashlib.sha256(data).hexdigest()
    assert photo.name == "some.photo"
    assert photo.source_size == (W, H)
    assert warnings == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, kind: str) -> None:
    image = Image.fromarray(_scene())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (
        {"quality": 98, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    )
    data = _encode(image, kind, exif=exif, **options)
    photo, _ = _decode(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert photo.rgb_srgb.shape == expected.shape
    assert np.abs(_levels(photo) - expected).max() < 0.01
    assert photo.source_size == (photo.width, photo.height)


def test_grey_palette_and_one_bit() -> None:
    grey = Image.fromarray(_scene()).convert("L")
    photo, _ = _decode(_encode(grey, "PNG"))
    assert np.abs(_levels(photo) - np.asarray(grey)[..., None]).max() < 0.01
    palette = Image.fromarray(_scene()).quantize(64)
    photo, _ = _decode(_encode(palette, "PNG"))
    assert np.abs(_levels(photo) - np.asarray(palette.convert("RGB"))).max() < 0.01
    bits = grey.convert("1")
    photo, _ = _decode(_encode(bits, "PNG"))
    assert np.abs(_levels(photo) - 255.0 * np.asarray(bits)[..., None]).max() < 0.01


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_composited_on_mid_grey(mode: str) -> None:
    alpha = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
    if mode == "RGBA":
        colour = _scene()
        image = Image.fromarray(np.dstack([colour, alpha]), "RGBA")
    elif mode == "LA":
        grey = _scene()[..., 0]
        colour = np.repeat(grey[..., None], 3, axis=2)
        image = Image.fromarray(np.dstack([grey, alpha]), "LA")
    else:  # a palette whose entry 0 is transparent
        image = Image.fromarray(_scene()).quantize(16)
        index = np.asarray(image)
        alpha = np.where(index == 0, 0, 255).astype(np.uint8)
        colour = np.asarray(image.convert("RGB"))
    data = _encode(image, "PNG", **({"transparency": 0} if mode == "PA" else {}))
    photo, warnings = _decode(data)
    a = alpha[..., None] / 255.0
    assert np.abs(_levels(photo) - (colour * a + 127.5 * (1 - a))).max() < 0.01
    assert len(warnings) == 1
    assert "transparent" in warnings[0]


def test_opaque_alpha_warns_of_nothing() -> None:
    image = Image.fromarray(_scene()).convert("RGBA")
    assert _decode(_encode(image, "PNG"))[1] == []


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_keep_their_precision(kind: str, channels: int) -> None:
    ramp = np.linspace(10_000, 10_255, W).astype(np.uint16)  # one 8-bit level and its neighbour
    samples = np.repeat(np.tile(ramp, (H, 1))[..., None], channels, axis=2)
    if channels >= 3:
        samples[..., 0] += 20_000  # OpenCV writes blue first
    if channels == 4:
        samples[..., 3] = 65_535
    ok, data = cv2.imencode(kind, samples)
    assert ok
    photo, _ = _decode(data.tobytes())
    expected = samples[..., :1] if channels == 1 else samples[..., 2::-1]
    assert np.abs(photo.rgb_srgb - expected / 65_535.0).max() < 1e-6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_tiffs(orientation: int) -> None:
    samples = _scene().astype(np.uint16) * 257
    data = _tiff16(samples, orientation)
    photo, _ = _decode(data)
    plain = Image.fromarray(_scene())
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    assert photo.rgb_srgb.shape == expected.shape
    assert np.abs(_levels(photo) - expected).max() < 0.01


def _tiff16(samples: np.ndarray, orientation: int) -> bytes:
    height, width, channels = samples.shape
    pixels = samples.astype("<u2").tobytes()
    count = 10
    bits = 8 + 2 + 12 * count + 4
    short = {258: (3, bits), 256: (1, width), 257: (1, height), 259: (1, 1), 262: (1, 2)}
    short |= {274: (1, orientation), 277: (1, channels)}
    long = {273: bits + 6, 278: height, 279: len(pixels)}
    table = b""
    for tag in sorted([*short, *long]):
        if tag in long:
            table += struct.pack("<HHII", tag, 4, 1, long[tag])
        else:
            n, value = short[tag]
            table += struct.pack("<HHI", tag, 3, n) + struct.pack("<I", value)
    header = b"II*\0" + struct.pack("<IH", 8, count)
    return header + table + b"\0\0\0\0" + struct.pack("<3H", 16, 16, 16) + pixels


def test_cmyk_without_profile_is_named() -> None:
    cmyk = Image.fromarray(_scene()).convert("CMYK")
    for kind, tolerance in (("TIFF", 1.01), ("JPEG", 12)):
        photo, warnings = _decode(_encode(cmyk, kind, **({"quality": 97} if kind == "JPEG" else {})))
        assert np.abs(_levels(photo) - _scene()).max() < tolerance
        assert any("CMYK" in w for w in warnings)


def test_lab_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (W, H), v) for v in (153, 128 + 20, 128 + 30)])
    photo, _ = _decode(_encode(lab, "TIFF"))
    reference = cv2.cvtColor(np.full((1, 1, 3), (60, 20, 30), np.float32), cv2.COLOR_Lab2RGB)
    assert np.abs(photo.rgb_srgb - reference).max() < 0.02


# ---- ICC ---------------------------------------------------------------------------------------------

P3_XYZ_D50 = np.array(  # Display P3 adapted to D50, columns red, green, blue
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
SRGB_XYZ_D50 = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def _profile(matrix: np.ndarray | None, gamma: float, *, parametric: bool = False) -> bytes:
    """A version-2 (or, with ``para`` curves, version-4) matrix or grey display profile, built by hand."""

    def s15(v: float) -> bytes:
        return struct.pack(">i", round(float(v) * 65536))

    def xyz(column: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(s15(v) for v in column)

    if parametric:
        curve = b"para\0\0\0\0\0\0\0\0" + s15(gamma)
    else:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 79
    tags = {b"desc": text, b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249])), b"cprt": b"text\0\0\0\0none\0"}
    if matrix is None:
        tags[b"kTRC"] = curve
    else:
        for i, c in enumerate(b"rgb"):
            tags[bytes([c]) + b"XYZ"] = xyz(matrix[:, i])
            tags[bytes([c]) + b"TRC"] = curve
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, content in tags.items():
        table += struct.pack(">4sII", signature, offset + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    size = offset + len(body)
    header = struct.pack(
        ">I4sI4s4s4s",
        size,
        b"lcms",
        0x04000000 if parametric else 0x02400000,
        b"mntr",
        b"RGB " if matrix is not None else b"GRAY",
        b"XYZ ",
    )
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + s15(0.9642) + s15(1.0) + s15(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _expected_srgb(rgb: np.ndarray, matrix: np.ndarray, gamma: float) -> np.ndarray:
    linear = rgb**gamma @ (np.linalg.inv(SRGB_XYZ_D50) @ matrix).T
    return np.clip(linear_to_srgb(np.clip(linear, 0, 1)), 0, 1)


def _muted() -> np.ndarray:
    """Colours that stay inside sRGB's gamut when read as Display P3."""
    return (90 + _scene() * 0.3).astype(np.uint8)


@pytest.mark.parametrize("parametric", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_icc_matrix_profile_8_bit(kind: str, parametric: bool) -> None:
    gamma = 2.19921875  # Adobe RGB's, 563/256
    profile = _profile(P3_XYZ_D50, gamma, parametric=parametric)
    options = {"JPEG": {"quality": 99, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    photo, warnings = _decode(_encode(Image.fromarray(_muted()), kind, icc_profile=profile, **options))
    expected = 255 * _expected_srgb(_muted() / 255.0, P3_XYZ_D50, gamma)
    assert np.abs(_levels(photo) - expected).max() < (6 if kind == "JPEG" else 1.6)
    assert np.abs(expected - _muted()).max() > 8  # the profile matters
    assert warnings == []


@pytest.mark.parametrize("parametric", [False, True])
def test_icc_matrix_profile_16_bit_agrees_with_closed_form(parametric: bool) -> None:
    gamma = 1.80078125
    profile = _profile(P3_XYZ_D50, gamma, parametric=parametric)
    samples = (_muted().astype(np.uint16) * 257 + 77).astype(np.uint16)
    data = _png16(samples, profile)
    photo, warnings = _decode(data)
    expected = _expected_srgb(samples / 65_535.0, P3_XYZ_D50, gamma)
    assert np.abs(photo.rgb_srgb - expected).max() < 3e-4
    assert warnings == []


def test_icc_grey_profile() -> None:
    profile = _profile(None, 1.0)
    grey = Image.fromarray(_scene()[..., 0])
    photo, _ = _decode(_encode(grey, "PNG", icc_profile=profile))
    expected = 255 * linear_to_srgb(np.asarray(grey) / 255.0)[..., None]
    assert np.abs(_levels(photo) - expected).max() < 1.6


def test_icc_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo, warnings = _decode(_encode(Image.fromarray(_scene()), "PNG", icc_profile=profile))
    assert np.abs(_levels(photo) - _scene()).max() < 1.01
    assert warnings == []


def test_damaged_profile_is_named() -> None:
    photo, warnings = _decode(_encode(Image.fromarray(_scene()), "PNG", icc_profile=b"nonsense" * 40))
    assert np.abs(_levels(photo) - _scene()).max() < 0.01
    assert len(warnings) == 1
    assert "profile" in warnings[0]


def _png16(samples: np.ndarray, profile: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
            chunk(b"iCCP", b"test\0\0" + zlib.compress(profile)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


# ---- several pictures, large pictures -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    first, second = Image.new("RGB", (W, H), (200, 30, 30)), Image.new("RGB", (W, H), (30, 30, 200))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = _encode(first, kind, save_all=True, append_images=[second], duration=100, **options)
    photo, warnings = _decode(data)
    assert np.abs(_levels(photo) - (200, 30, 30)).max() < 2
    assert any("animated" in w for w in warnings)


def test_first_page_of_a_tiff() -> None:
    first, second = Image.new("RGB", (W, H), (200, 30, 30)), Image.new("RGB", (W, H), (30, 30, 200))
    photo, warnings = _decode(_encode(first, "TIFF", save_all=True, append_images=[second]))
    assert np.abs(_levels(photo) - (200, 30, 30)).max() < 0.01
    assert any("pages" in w for w in warnings)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_are_reduced_with_the_factor_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "WORK_PIXELS", W * H / 9)  # a factor of 3, as for 450 megapixels
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    photo, warnings = _decode(_encode(Image.fromarray(_scene()), kind, **options))
    assert (photo.width, photo.height) == (32, 26)
    assert photo.source_size == (W, H)
    assert len(warnings) == 1
    assert "3.00" in warnings[0]
    reference = cv2.resize(_scene(), (32, 26), interpolation=cv2.INTER_AREA)
    assert np.abs(_levels(photo) - reference).max() < 6


# ---- what is refused ----------------------------------------------------------------------------------


def _png_header(width: int, height: int) -> bytes:
    content = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + b"IHDR" + content + struct.pack(">I", zlib.crc32(b"IHDR" + content))
    idat = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + ihdr + struct.pack(">I", len(idat)) + b"IDAT" + idat + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, this is a text file\n" * 50, "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100, "HEIC"),
        (b"%PDF-1.7\n" + b"\0" * 200, "not a picture"),
        (_png_header(20_000, 20_000), "20000×20000"),
        (_png_header(19_000, 19_000), "19000×19000"),
        (_png_header(2_000_000_000, 2_000_000_000), "too large"),
        (_png_header(100, 30_000), "100×30000"),
        (_png_header(300, 200), "damaged"),
        (_encode(Image.new("RGB", (1, 1)), "PNG"), "1×1"),
        (_encode(Image.new("RGB", (640, 40)), "JPEG"), "640×40"),
    ],
)
def test_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode_photo(data, "bad.png")
    message = str(caught.value)
    assert says in message
    assert "bad.png" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    data = _encode(Image.fromarray(noise), kind)
    with pytest.raises(BadInput) as caught:
        decode_photo(data[: int(len(data) * share)], "cut.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_truncated_16_bit_files_are_refused(kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 65_535, (120, 100, 3)).astype(np.uint16)
    data = cv2.imencode(kind, noise)[1].tobytes()
    with pytest.raises(BadInput):
        decode_photo(data[: int(len(data) * 0.6)], "cut.tiff")


def test_floating_point_tiff_is_refused() -> None:
    image = Image.fromarray(np.ones((H, W), np.float32))
    with pytest.raises(BadInput, match="floating-point"):
        decode_photo(_encode(image, "TIFF"), "f.tiff")


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="folder"):
        load_photo(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(BadInput, match="not a regular file"):
        load_photo(Path("/dev/zero"))
    path = tmp_path / "picture.one.png"
    path.write_bytes(_encode(Image.fromarray(_scene()), "PNG"))
    assert load_photo(path).name == "picture.one"


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # chmod does not bind the superuser
    with pytest.raises(BadInput, match="may not be read"):
        load_photo(path)


def test_random_damage_never_escapes_as_another_error() -> None:
    rng = np.random.default_rng(11)
    sources = [
        _encode(Image.fromarray(_scene()), "JPEG"),
        _encode(Image.fromarray(_scene()), "PNG"),
        _encode(Image.fromarray(_scene()), "WEBP"),
        _encode(Image.fromarray(_scene()), "TIFF", compression="tiff_lzw"),
        cv2.imencode(".png", np.zeros((80, 80, 3), np.uint16))[1].tobytes(),
    ]
    refusals = []
    for trial in range(150):
        data = bytearray(sources[trial % len(sources)])
        for _ in range(8):
            data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
        try:
            decode_photo(bytes(data), "fuzz.img")
        except BadInput as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert not any("\n" in line for line in refusals)
