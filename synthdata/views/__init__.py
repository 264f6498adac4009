"""Multi-view sets: people in many expressions before a dome of cameras (docs/dataset.md)."""
