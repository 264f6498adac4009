"""The baselines, and the metrics of geometry on avatars that come out of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_avatar import make_reconstruction
from synthetic_cases import somebody, write_case

from backend import pipeline
from backend.artifacts import Reconstruction, Run
from backend.errors import BadInput
from backend.evaluation.cases import read_case
from backend.evaluation.geometry_metrics import measure_now, measure_realy
from backend.evaluation.methods import Methods, Options, as_mean_head, check_method, without_delighting
from backend.evaluation.prediction import read_prediction
from backend.evaluation.registry import all_groups, choose_groups
from backend.export.bundle_writer import write_bundle
from backend.head.registry import load_head
from backend.texture.reflectance import regional
from backend.uvspace.chart import chart_maps


@pytest.fixture(scope="module")
def made() -> Reconstruction:
    """Somebody with a smile, as if reconstructed without error."""
    head = load_head("open")
    made = make_reconstruction(head, size=64, expression={"mouthSmileLeft": 0.8})
    identity = (0.8 * np.random.default_rng(1).normal(size=len(head.identity_basis))).astype(np.float32)
    fit = replace(
        made.fit,
        identity=identity,
        neutral_head=head.shape(identity),
        vertices_head=head.shape(identity, made.fit.expression),
    )
    chart = chart_maps(head, fit.vertices_head, 64)
    return replace(made, fit=fit, partial=replace(made.partial, chart=chart))


def test_the_mean_head_knows_nothing_of_the_face(made: Reconstruction) -> None:
    head, mean = made.fit.head, as_mean_head(made)
    np.testing.assert_array_equal(mean.fit.vertices_head, head.mean_vertices)
    assert not mean.fit.identity.any()
    assert not mean.fit.expression.any()
    assert mean.fit.camera is made.fit.camera  # but stands where the face stood
    inside = mean.partial.chart.inside
    albedo = mean.materials.albedo_linear[inside]
    skin = np.unique(head.triangles[head.triangle_part == 0])
    np.testing.assert_allclose(albedo.mean(0), head.albedo_mean[skin].mean(0), atol=0.03)
    assert not mean.partial.confidence.any()  # no texel was seen
    assert not mean.materials.displacement_m.any()


def test_without_delighting_the_photo_is_the_albedo(made: Reconstruction) -> None:
    plain = without_delighting(made)
    inside = plain.partial.chart.inside
    np.testing.assert_array_equal(
        plain.materials.albedo_linear[inside], np.clip(made.complete.rgb_linear, 0, 1)[inside]
    )
    np.testing.assert_array_equal(plain.fit.vertices_head, made.fit.vertices_head)
    low, high = regional(made.fit.head)[:, 0].min(), regional(made.fit.head)[:, 0].max()
    assert low - 1e-4 <= plain.materials.roughness[inside].min()
    assert plain.materials.roughness[inside].max() <= high + 1e-4
    np.testing.assert_array_equal(plain.materials.normal_tangent[..., 2], 1)


def test_geometry_of_the_truth_and_of_the_mean_head(made: Reconstruction, tmp_path: Path) -> None:
    """The same head as truth and as reconstruction: 0; with its place and size wrong: 0 with scale alone."""
    case = read_case(
        write_case(tmp_path, "case", vertices=made.fit.vertices_head, neutral=made.fit.neutral_head)
    )
    right = read_prediction("right", write_bundle(made, tmp_path / "right"))
    values = {**measure_realy(case, right, tmp_path), **measure_now(case, right, tmp_path)}
    assert (tmp_path / "geometry.png").is_file()
    assert set(values) == {name for group in choose_groups(["realy", "now"]) for name in group.metrics}
    assert max(values.values()) < 0.02  # the avatar holds its expressions to a micrometre

    mean = read_prediction("mean-head", write_bundle(as_mean_head(made), tmp_path / "mean"))
    worse = {**measure_realy(case, mean, tmp_path), **measure_now(case, mean, tmp_path)}
    assert worse["realy_all_mm"] > 0.8
    assert worse["now_median_mm"] > 0.7

    head = made.fit.head
    big = replace(
        made,
        fit=replace(
            made.fit,
            neutral_head=1.1 * made.fit.neutral_head,
            head=replace(head, expression_basis=1.1 * head.expression_basis),
        ),
    )
    scaled = read_prediction("big", write_bundle(big, tmp_path / "big"))
    values = {**measure_realy(case, scaled, tmp_path), **measure_now(case, scaled, tmp_path)}
    assert values["realy_all_mm"] < 0.02
    assert values["now_mean_mm"] < 0.02
    assert values["realy_noscale_all_mm"] > 0.5
    assert values["now_noscale_mean_mm"] > 0.5


def test_now_takes_the_neutral_face_and_realy_the_photographed_one(
    made: Reconstruction, tmp_path: Path
) -> None:
    """A wrong smile is REALY's business alone."""
    case = read_case(
        write_case(tmp_path, "case", vertices=made.fit.vertices_head, neutral=made.fit.neutral_head)
    )
    serious = replace(made, fit=replace(made.fit, expression=np.zeros_like(made.fit.expression)))
    prediction = read_prediction("serious", write_bundle(serious, tmp_path / "serious"))
    assert measure_now(case, prediction, tmp_path)["now_mean_mm"] < 0.02
    assert measure_realy(case, prediction, tmp_path)["realy_mouth_mm"] > 0.3


def test_an_avatar_is_made_once(
    made: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def reconstruct(photo: Path, **options: object) -> Reconstruction:
        calls.append(photo.name)
        return made

    monkeypatch.setattr(pipeline, "reconstruct", reconstruct)
    case = read_case(write_case(tmp_path, "case"))
    methods = Methods(tmp_path / "avatars", Options())
    directories = [
        methods.predict(case, m, Run()).directory for m in ("engine:embedded", "mean-head", "no-delight")
    ]
    assert len(set(directories)) == 3
    assert calls == ["photo.png"]  # one reconstruction serves all three
    assert methods.predict(case, "mean-head", Run()).directory == directories[1]
    again = Methods(tmp_path / "avatars", Options())
    again.predict(case, "no-delight", Run())
    assert calls == ["photo.png"]
    other = Methods(tmp_path / "avatars", Options(seed=1)).predict(case, "mean-head", Run())
    assert other.directory != directories[1]
    assert not directories[1].exists()  # the older one makes room


def test_names_that_do_not_exist() -> None:
    assert check_method("engine:embedded") == "engine:embedded"
    with pytest.raises(
        BadInput, match="'guess' is unknown; take of engine:embedded, engine:marcus, mean-head, no-delight"
    ):
        check_method("guess")
    with pytest.raises(BadInput, match="no metrics called 'beauty'; take of realy, now"):
        choose_groups(["beauty"])
    names = [name for group in all_groups() for name in (*group.metrics, *group.set_metrics)]
    assert len(names) == len(set(names))


def test_a_bundle_of_another_head_is_refused(tmp_path: Path) -> None:
    directory = write_bundle(make_reconstruction(), tmp_path / "egg")
    with pytest.raises(ValueError, match="another head"):
        read_prediction("egg", directory)


def test_somebody_is_not_the_mean() -> None:
    assert np.linalg.norm(somebody() - load_head("open").mean_vertices, axis=1).mean() > 1e-3
