"""Where footprints of Gaussians begin and end; every renderer keeps to these. No torch."""

from __future__ import annotations

LOW_PASS_PX2 = 0.1
MOST_OPAQUE = 0.99
FAINTEST = 1.0 / 255.0  # a footprint ends where its opacity falls below this
LEAST_LEFT = 1e-4  # a pixel is closed once less light than this would pass
NEAREST_M = 0.01  # Gaussians nearer to the camera are not drawn
