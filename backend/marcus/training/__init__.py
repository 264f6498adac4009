"""Trainers of MARCUS-Avatar's learned parts, for the loop of ``backend.training``."""
