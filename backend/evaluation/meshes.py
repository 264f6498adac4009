"""Scans as benchmarks publish them: Wavefront OBJ, and MeshLab's picked points."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def read_obj(path: Path) -> tuple[F64, I64]:
    """Vertices ``(V, 3)`` in the file's order and unit, and triangles ``(T, 3)`` (polygons as fans).

    Texture coordinates, normals and vertex colours are passed over. A file of points alone has no triangles.
    Raises: BadInput when it cannot be read, or a face names a vertex that is not there.
    """
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                words = line.split()
                try:
                    if line.startswith("v "):
                        vertices.append([float(word) for word in words[1:4]])
                    elif line.startswith("f "):
                        corners = [_row(word, len(vertices)) for word in words[1:]]
                        triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
                except ValueError as error:
                    raise BadInput(f"'{path}', line {number} is not as an OBJ should be") from error
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read ({error.strerror})") from error
    if not vertices or any(len(vertex) != 3 for vertex in vertices):
        raise BadInput(f"'{path}' holds no vertices, or some without three coordinates")
    found = np.array(triangles, np.int64).reshape(-1, 3)
    if found.size and (found.min() < 0 or found.max() >= len(vertices)):
        raise BadInput(f"'{path}' has faces that name vertices which are not there")
    return np.array(vertices, np.float64), found


def _row(word: str, count: int) -> int:
    row = int(word.split("/")[0])
    return row - 1 if row > 0 else count + row  # negative rows count back from here


def read_picked_points(path: Path) -> F64:
    """The points ``(N, 3)`` of a MeshLab ``.pp`` file, in its order. Raises: BadInput."""
    try:
        root = ElementTree.parse(path).getroot()
        points = [[float(point.attrib[axis]) for axis in "xyz"] for point in root.iter("point")]
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read ({error.strerror})") from error
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise BadInput(f"'{path}' is not a file of picked points ({error})") from error
    return np.array(points, np.float64).reshape(-1, 3)
