"""``likeness synth run``: training sets by the fast path (docs/dataset.md)."""
