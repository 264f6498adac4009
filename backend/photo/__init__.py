"""Decoding, face detection, landmarks and skin segmentation of photographs."""
