"""FiCA: from one portrait to a drivable Gaussian head, by four networks (docs/fica.md)."""
