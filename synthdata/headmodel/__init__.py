"""Builds the open head: own topology, bases learned from ICT-FaceKit and MakeHuman data."""
