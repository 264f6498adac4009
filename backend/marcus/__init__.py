"""The MARCUS engine: cascaded diffusion in HiFi3D++'s UV chart, by the published weights."""
