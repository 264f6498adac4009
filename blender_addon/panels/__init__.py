"""Panels: they read ``runtime.View`` and draw; everything that acts is an operator."""
