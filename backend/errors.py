"""Errors that reach the user: one line that says what is wrong and what to do, with an exit code."""

from __future__ import annotations


class LikenessError(Exception):
    """Base of every error that is the user's to act on; ``str(error)`` is the one line shown."""

    exit_code = 1


class BadInput(LikenessError):
    """The photograph, avatar or option given cannot be used."""

    exit_code = 2


class Missing(LikenessError):
    """Something needed is not installed or not present (a library, weights, a data folder)."""

    exit_code = 3


class BadWeights(Missing):
    """Weights are there, but damaged, of another model or of an unsafe kind."""


class OutOfResources(LikenessError):
    """Memory or disk ran out."""

    exit_code = 4


class Cancelled(LikenessError):
    """The user stopped the work."""

    exit_code = 130
