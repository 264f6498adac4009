"""What is registered fits the runner: names, needs, and figures that are listed."""

import numpy as np
import pytest
from avatar_cases import camera_at, make_case, make_prediction

from backend.evaluation.case_schema import PARTS
from backend.evaluation.methods import Options
from backend.evaluation.registry import all_groups, choose_groups, info_of
from backend.evaluation.results import RunFolder, set_key
from backend.evaluation.runner import Job, run_cases


def test_needs_are_parts_and_names_are_told_apart():
    names = [group.name for group in all_groups()]
    assert len(set(names)) == len(names)
    metrics = [m for group in all_groups() for m in (*group.metrics, *group.set_metrics)]
    assert len(set(metrics)) == len(metrics)
    labels = [info_of(m).label for m in metrics]
    assert len(set(labels)) == len(labels)
    assert {need for group in all_groups() for need in group.needs} <= set(PARTS)
    assert all(group.measure or group.opened or group.over_cases or group.lacks for group in all_groups())


class OneAvatar:
    def __init__(self, prediction):
        self.prediction = prediction

    def predict(self, case, method, run):
        return self.prediction


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Everything but Cycles and geometry, over one case."""
    root = tmp_path_factory.mktemp("run")
    confidence = np.ones((200, 200), np.float32)
    methods = OneAvatar(make_prediction(root / "a", confidence=confidence))
    case = make_case(
        root / "c",
        {"photo": camera_at(0)},
        albedo=lambda uv: np.full((*uv.shape[:2], 3), 0.25),
        constants={"roughness": 0.5, "specular": 0.5},
    )
    wanted = ("albedo", "albedo-turned", "lpips", "texture", "occluders", "skin-tone", "materials")
    groups = choose_groups((*wanted, "invariance", "identity", "splats"))
    folder = RunFolder(root / "run")
    job = Job((case,), ("engine:embedded",), groups, Options())
    run_cases(job, folder, methods, lambda progress: None)
    return folder


def test_a_case_gets_its_figures_and_what_is_left_out_is_named(run):
    result = run.read_result("engine:embedded", "c")
    assert result.error is None
    assert result.notes == ()
    known = {name for name, value in result.metrics.items() if value is not None}
    assert {"albedo_rmse", "skin_delta_e_2000", "bs_error", "normal_degrees", "roughness_error"} <= known
    assert "displacement_rmse_mm" not in known  # the truth's view has none
    assert {"view left45", "view right45", "face embedder", "novel pictures"} <= set(result.missing)
    assert result.metrics["relit_csim"] is None
    assert any(picture.endswith("albedo.png") for picture in result.pictures)


def test_figures_of_the_whole_set(run):
    found = run.read_set("engine:embedded", set_key([run.read_result("engine:embedded", "c")])).metrics
    groups = [name for name, value in found.items() if name.startswith("skin_delta_e_2000_") and value]
    assert len(groups) == 1
    assert found["skin_delta_e_2000_gap"] is None
    assert found["spread_shape_mm"] is None  # one photograph only
