"""Operators, one module per task; each has a tuple ``CLASSES``."""
