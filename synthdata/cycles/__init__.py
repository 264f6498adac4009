"""Training instances by Cycles: skin with light under it, strands and clothes (docs/dataset.md)."""
