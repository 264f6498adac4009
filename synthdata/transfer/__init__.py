"""Radiance transfer of a head, traced with embree."""
