"""Parametric heads behind one interface: ``open`` (shipped), ``ict``, ``hifi3dpp``."""
