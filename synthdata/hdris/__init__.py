"""Panoramas from elsewhere: Poly Haven's, and those that ship with Blender."""
