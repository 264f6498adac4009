"""From an aligned portrait to HiFi3D++'s coefficients, pose and camera."""
