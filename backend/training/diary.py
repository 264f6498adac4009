"""What a training tells while it runs: ``metrics.jsonl`` and TensorBoard, cut back where a resume starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.artifacts import F32
from backend.export.map_files import encode_png

METRICS = "metrics.jsonl"
SAMPLES = "samples"


class Diary:
    """Writes numbers and pictures of the main process."""

    def __init__(self, out: Path, step: int) -> None:
        """``step`` steps are done: what an interrupted run told of later ones is taken back."""
        from torch.utils.tensorboard import SummaryWriter

        self._out = out
        kept = [line for line in read_metrics(out) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        (out / METRICS).write_text(text)
        self._file = (out / METRICS).open("a")
        self._board: Any = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """After ``step`` steps."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, rgb_srgb: F32) -> Path:
        """Samples after ``step`` steps, ``(H, W, 3)`` in [0, 1]."""
        folder = self._out / SAMPLES
        folder.mkdir(exist_ok=True)
        eight = (rgb_srgb.clip(0, 1) * 255).round().astype("uint8")
        path = folder / f"step-{step:08d}.png"
        path.write_bytes(encode_png(eight))
        self._board.add_image("samples", eight, step, dataformats="HWC")
        return path

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_metrics(out: Path) -> list[dict[str, float]]:
    """The lines of ``metrics.jsonl``; one cut short by a kill is left out."""
    lines = []
    for line in (out / METRICS).read_text().splitlines() if (out / METRICS).exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
