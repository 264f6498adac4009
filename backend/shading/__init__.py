"""Shading in linear light: spherical harmonics, environment light, the UV-space GGX shader."""
