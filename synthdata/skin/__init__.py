"""Procedural skin: five maps on a head's chart from one structure, without Blender (docs/skin.md)."""
