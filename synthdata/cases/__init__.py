"""Evaluation cases: made-up heads and scans, photographed by Cycles, with their truth."""
