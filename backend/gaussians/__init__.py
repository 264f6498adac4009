"""The head as 3D Gaussians: renderer, decoder without learned weights, files."""
