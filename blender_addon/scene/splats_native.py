"""Splats as Blender's own Gaussian point clouds, where this Blender has them (announced for 5.3).

Written from Blender's published importer and its users' scripts; not run, for no such Blender could be had.
The feature is looked for, not the version number. Such a cloud holds activated numbers: exact export of what
was imported is kept to the splats drawn by nodes.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..splats import Splats, SplatsError
from .splats import AXES_TURN, Axes

NATIVE_TYPE = "GAUSSIAN_SPLAT"


def has_native_splats() -> bool:
    """Whether this Blender draws Gaussian splats by itself."""
    kind = bpy.types.PointCloud.bl_rna.properties.get("type")
    return kind is not None and NATIVE_TYPE in getattr(kind, "enum_items", {})


def add_native_splats(splats: Splats, collection: Any, name: str, axes: Axes = "HEAD") -> Any:
    """A point cloud object that Blender itself draws as splats, linked to ``collection``.

    Raises: SplatsError where this Blender has no such point clouds.
    """
    if not has_native_splats():
        raise SplatsError(
            f"Blender {bpy.app.version_string} has no splats of its own; import them drawn by nodes."
        )
    cloud = bpy.data.pointclouds.new(name)
    try:
        cloud.resize(len(splats))
        cloud.type = NATIVE_TYPE
        base = np.column_stack([splats.sh[:, 0], splats.opacities()])
        _write(cloud, "position", "FLOAT_VECTOR", "vector", splats.positions)
        _write(cloud, "scale", "FLOAT_VECTOR", "vector", splats.scales())
        _write(cloud, "rotation", "QUATERNION", "value", splats.quaternions())
        _write(cloud, "radiance:base", "FLOAT4", "vector", base)
        for k in range(1, splats.sh.shape[1]):
            _write(cloud, f"radiance:sh_{k - 1}", "FLOAT_VECTOR", "vector", splats.sh[:, k])
        cloud.update_tag()
        thing = bpy.data.objects.new(name, cloud)
    except BaseException:
        bpy.data.pointclouds.remove(cloud)
        raise
    thing.rotation_euler.x = AXES_TURN[axes]
    collection.objects.link(thing)
    return thing


def _write(cloud: Any, name: str, kind: str, value: str, data: NDArray[np.floating[Any]]) -> None:
    attribute = cloud.attributes.get(name) or cloud.attributes.new(name, kind, "POINT")
    attribute.data.foreach_set(value, np.ascontiguousarray(data, np.float32).ravel())
