"""What the fit believes before it looks: noise levels and priors, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitOptions:
    """Standard deviations and prior strengths of the fit. Lengths in the image are relative to its scale.

    Face Mesh is a smooth network output, so neighbouring points err together: ``landmark_sigma`` is
    wider than one point's error, to keep 478 of them from outvoting the priors as if independent.
    """

    landmark_sigma: float = 0.01  # of a landmark, over the projected outer-eye-corner distance
    outline_tangent_weight: float = 0.05  # face-oval points slide along the outline: little pull there
    outline_normal_weight: float = 0.4
    outline_sigma: float = 0.03  # of a matched outline point across the outline, like landmark_sigma
    silhouette_sigma: float = 0.023  # of the head's rim across the person's outline
    iris_sigma: float = 0.1  # of log iris size; on renders Face Mesh is off by that much
    focal_sigma_exif: float = 0.02  # of log focal length
    focal_sigma_estimated: float = 0.3  # of log focal length; most portraits lie within two of these
    identity_sigma: float = 0.65  # what the photo says of shape is surer of too much than of too little
    expression_l1: float = 1.5  # cost per unit weight: small expressions are not worth their price
    expression_l2: float = 3.0  # half a quadratic of this stiffness, σ ≈ 0.6
    closed_rows_factor: float = 5.0  # on the price of jawOpen where closed rows of teeth are seen
    side_likeness: float = 2.0  # stiffness between an expression's left and right weight
    gaze_likeness: float = 8.0  # between both eyes' matching gaze weights
    shape_weight: float = 3.0  # of what the picture says of the shape; the rest is surer than it is right
    shape_population: float = 2.0  # how often the shape's population counts beside the identity's prior
    robust_width: float = 2.5  # Geman–McClure width, in sigmas
    photometric_sigma: float = 0.015  # least, of a sample's square-root-encoded luminance
    photometric_points: float = 600.0  # the samples count as this many independent ones
