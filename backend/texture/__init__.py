"""UV-space appearance stages: completion, light homogenisation, materials."""
