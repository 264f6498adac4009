"""Reading training sets: shards, their schema, streaming, checks and contact sheets (docs/dataset.md)."""
