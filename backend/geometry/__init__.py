"""Fitting a parametric head to landmarks and to the photo (3D-to-2D)."""
