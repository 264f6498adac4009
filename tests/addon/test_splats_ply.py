"""Splat files: exact round trips, every form of PLY, faulty files; harmonics against scipy."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from scipy.special import sph_harm_y
from splat_reference import harmonics, matrices

from blender_addon import splat_sh
from blender_addon.splats import Splats, SplatsError, read_ply, write_ply

FIELDS = ("positions", "log_scales", "rotations", "opacity_logits", "sh")


def some_splats(count: int = 50, degree: int = 3, seed: int = 0) -> Splats:
    random = np.random.default_rng(seed)
    shapes = ((count, 3), (count, 3), (count, 4), (count,), (count, (degree + 1) ** 2, 3))
    return Splats(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


def field_names(degree: int) -> list[str]:
    rest = [f"f_rest_{i}" for i in range(3 * ((degree + 1) ** 2 - 1))]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity"]
    return [*names, "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def columns_of(splats: Splats) -> dict[str, np.ndarray]:
    """What each field of the file must hold, written out one by one."""
    columns = {name: np.zeros(len(splats), np.float32) for name in ("nx", "ny", "nz")}
    for i in range(3):
        columns["xyz"[i]] = splats.positions[:, i]
        columns[f"f_dc_{i}"] = splats.sh[:, 0, i]
        columns[f"scale_{i}"] = splats.log_scales[:, i]
    for i in range(4):
        columns[f"rot_{i}"] = splats.rotations[:, i]
    columns["opacity"] = splats.opacity_logits
    others = splats.sh.shape[1] - 1
    for channel in range(3):  # all of red, all of green, all of blue
        for k in range(others):
            columns[f"f_rest_{channel * others + k}"] = splats.sh[:, 1 + k, channel]
    return columns


def ply(splats: Splats, form: str, names: list[str], kind: str = "float") -> bytes:
    columns = columns_of(splats)
    head = ["ply", f"format {form} 1.0", "comment made by a test", f"element vertex {len(splats)}"]
    head += [*(f"property {kind} {name}" for name in names), "end_header\n"]
    table = np.stack([columns[name] for name in names], 1)
    if form == "ascii":
        body = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in table).encode() + b"\n"
    else:
        order = "<" if "little" in form else ">"
        body = table.astype(order + ("f8" if kind == "double" else "f4")).tobytes()
    return "\n".join(head).encode() + body


def assert_same(a: Splats, b: Splats) -> None:
    for name in FIELDS:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype == np.float32
        np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_reads_every_form(tmp_path, degree, form):
    splats = some_splats(degree=degree)
    path = tmp_path / "s.ply"
    path.write_bytes(ply(splats, form, field_names(degree)))
    read = read_ply(path)
    assert read.degree == degree
    assert_same(read, splats)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_writes_the_original_layout_to_the_byte(tmp_path, degree):
    splats = some_splats(degree=degree)
    write_ply(tmp_path / "s.ply", splats)
    expected = ply(splats, "binary_little_endian", field_names(degree))
    assert (tmp_path / "s.ply").read_bytes() == expected.replace(b"comment made by a test\n", b"")
    assert_same(read_ply(tmp_path / "s.ply"), splats)
    assert [p.name for p in tmp_path.iterdir()] == ["s.ply"]


def test_reads_fields_in_any_order_and_type(tmp_path):
    splats = some_splats()
    names = field_names(3)
    np.random.default_rng(3).shuffle(names)
    (tmp_path / "s.ply").write_bytes(ply(splats, "binary_big_endian", names, "double"))
    assert_same(read_ply(tmp_path / "s.ply"), splats)


_GOOD = ply(some_splats(degree=1), "binary_little_endian", field_names(1))
_ASCII = ply(some_splats(degree=1), "ascii", field_names(1))
_MESH = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)


def with_value(value: float, name: str) -> bytes:
    splats = some_splats(degree=1)
    getattr(splats, name)[7] = value
    return ply(splats, "binary_little_endian", field_names(1))


FAULTY = {
    "empty": (b"", "not a PLY"),
    "not PLY": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a PLY"),
    "header cut": (_GOOD[:90], "no whole PLY header"),
    "endless header": (b"ply\n" + b"comment x\n" * 20000, "no whole PLY header"),
    "one line without end": (b"ply\n" + b"x" * 5000, "no whole PLY header"),
    "unknown format": (_GOOD.replace(b"binary_little_endian", b"binary_pdp_endian"), "does not exist"),
    "no format": (_GOOD.replace(b"format binary_little_endian 1.0\n", b""), "incomplete"),
    "data cut": (_GOOD[:-1], "cut short: it should hold 50"),
    "ascii cut": (_ASCII[: len(_ASCII) // 2], "cut short"),
    "ascii words": (_ASCII.replace(b"end_header\n", b"end_header\nnonsense "), "not numbers"),
    "absurd count": (_GOOD.replace(b"vertex 50\n", b"vertex 99999999999999999999\n"), "cut short"),
    "negative count": (_GOOD.replace(b"vertex 50\n", b"vertex -5\n"), "'-5' splats"),
    "no splats": (_GOOD.replace(b"vertex 50\n", b"vertex 0\n"), "no splats in it"),
    "field missing": (_GOOD.replace(b"property float rot_3\n", b""), "has no rot_3"),
    "odd harmonics": (_GOOD.replace(b"property float f_rest_8\n", b""), "8 f_rest fields"),
    "field twice": (_GOOD.replace(b"property float ny\n", b"property float nx\n"), "faulty property 'nx'"),
    "unknown type": (_GOOD.replace(b"property float nx\n", b"property half nx\n"), "faulty property 'nx'"),
    "a mesh": (_MESH, "is a mesh"),
    "list": (_GOOD.replace(b"property float nx\n", b"property list uchar int nx\n"), "lists"),
    "faces first": (_GOOD.replace(b"element vertex", b"element face 1\nelement vertex"), "does not begin"),
    "NaN": (with_value(np.nan, "positions"), "not finite"),
    "infinite": (with_value(np.inf, "opacity_logits"), "not finite"),
    "scales not logarithms": (with_value(1e4, "log_scales"), "absurd size"),
    "no rotation": (with_value(0.0, "rotations"), "without a rotation"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_files_are_refused_in_one_line(tmp_path, name):
    data, words = FAULTY[name]
    path = tmp_path / "faulty.ply"
    path.write_bytes(data)
    with pytest.raises(SplatsError, match=words) as caught:
        read_ply(path)
    text = str(caught.value)
    assert "\n" not in text
    assert "'faulty.ply'" in text
    assert len(text) < 130


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(SplatsError, match="cannot be read"):
        read_ply(tmp_path / "absent.ply")
    with pytest.raises(SplatsError, match="cannot be read"):
        read_ply(tmp_path)
    with pytest.raises(SplatsError, match="cannot be written"):
        write_ply(tmp_path / "no" / "s.ply", some_splats())


@pytest.mark.skipif(sys.platform == "win32", reason="folder rights work otherwise there")
def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "s.ply"
    target.mkdir()  # a folder cannot be replaced by a file
    (target / "kept").touch()
    with pytest.raises(SplatsError, match="cannot be written"):
        write_ply(target, some_splats())
    assert os.listdir(tmp_path) == ["s.ply"]


def test_arrays_that_disagree_are_refused():
    splats = some_splats()
    with pytest.raises(SplatsError, match="wrong shape"):
        Splats(splats.positions, splats.log_scales[:-1], splats.rotations, splats.opacity_logits, splats.sh)
    with pytest.raises(SplatsError, match="wrong shape"):
        Splats(splats.positions, splats.log_scales, splats.rotations, splats.opacity_logits, splats.sh[:, :5])


def unit(count: int, seed: int) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def scipy_basis(directions: np.ndarray, degree: int) -> np.ndarray:
    """Real harmonics (N, K) from scipy's complex ones, their Condon–Shortley sign kept."""
    polar = np.arccos(directions[:, 2])
    azimuth = np.arctan2(directions[:, 1], directions[:, 0])
    columns = []
    for order in range(degree + 1):
        for m in range(-order, order + 1):
            value = sph_harm_y(order, abs(m), polar, azimuth)
            columns.append(value.real if m == 0 else np.sqrt(2) * (value.real if m > 0 else value.imag))
    return np.stack(columns, -1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_basis_is_scipys_with_its_sign(degree):
    directions = unit(200, 1)
    expected = scipy_basis(directions, degree)
    np.testing.assert_allclose(splat_sh.basis(directions, degree), expected, atol=1e-12)
    np.testing.assert_allclose(harmonics(directions, degree), expected, atol=1e-12)


def test_colours_are_cut_at_zero():
    sh = np.zeros((2, 1, 3))
    sh[:, 0] = [[1.0, -5.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(
        splat_sh.colours_srgb(sh, unit(2, 0)), [[0.5 + 0.28209479177387814, 0, 0.5], [0.5] * 3]
    )


def test_transform_turns_gaussians_and_colours_together():
    """The moved splats, seen from moved directions, are the old ones: covariance and colour."""
    splats = some_splats(20)
    turn = matrices(np.array([[0.9, -0.3, 0.2, 0.5]]))[0]
    factor, shift = 1.7, np.array([0.3, -2.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = factor * turn, shift
    moved = splats.transformed(matrix)
    np.testing.assert_allclose(moved.positions, factor * splats.positions @ turn.T + shift, atol=1e-5)

    def covariance(s):
        axes = matrices(s.rotations.astype(float)) * s.scales()[:, None].astype(float)
        return axes @ axes.transpose(0, 2, 1)

    np.testing.assert_allclose(
        covariance(moved), factor**2 * turn @ covariance(splats) @ turn.T, rtol=1e-4, atol=1e-4
    )
    directions = unit(20, 5)
    before = np.einsum("nk,nkc->nc", scipy_basis(directions, 3), splats.sh)
    after = np.einsum("nk,nkc->nc", scipy_basis(directions @ turn.T, 3), moved.sh)
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize("linear", [np.diag([1.0, 2.0, 1.0]), np.diag([-1.0, 1.0, 1.0]), np.zeros((3, 3))])
def test_stretched_and_mirrored_transforms_are_refused(linear):
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    with pytest.raises(SplatsError, match="not mirrored or stretched"):
        some_splats().transformed(matrix)
