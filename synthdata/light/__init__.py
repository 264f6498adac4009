"""Light for training sets: panoramas of a folder, procedural skies and studios."""
