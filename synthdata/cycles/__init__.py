"""Training instances by Cycles: skin with light under it, strands, glasses, hats, clothes (docs/dataset.md)."""
