"""Trainers of FiCA's four networks, for the loop of ``backend.training``."""
