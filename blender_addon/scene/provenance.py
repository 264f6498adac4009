"""Where an avatar comes from, as custom properties."""

from __future__ import annotations

from typing import Any

from ..bundle import Manifest


def write_provenance(owner: Any, manifest: Manifest) -> None:
    """Where an avatar comes from, as custom properties of a data-block."""
    owner["likeness_created_by"] = manifest.created_by
    owner["likeness_schema"] = manifest.schema
    owner["likeness_engine"] = manifest.engine
    owner["likeness_head"] = manifest.head
    owner["likeness_seed"] = str(manifest.seed)  # Blender's integers have 32 bits
    owner["likeness_photo"] = manifest.photo.name
    owner["likeness_photo_sha256"] = manifest.photo.sha256
    owner["likeness_stages"] = "; ".join(f"{s.name}: {s.implementation}" for s in manifest.stages)
    owner["likeness_weights"] = "; ".join(f"{w.name} ({w.licence})" for w in manifest.weights)
    owner["likeness_warnings"] = "; ".join(manifest.warnings)
