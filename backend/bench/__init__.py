"""``likeness bench``: how fast things are, each beside a baseline that was measured in the same run."""
