"""Blender data that evaluation cases and training instances share: meshes, strands, textures, pictures."""
