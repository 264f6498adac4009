"""Rasterisers, unwrap, visibility, chart seams and tangent frames in UV space."""
