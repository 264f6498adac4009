"""Weights that ship with Likeness, and the catalogue of those that do not."""
