"""Builders of Blender data from an avatar bundle, used by the add-on and the backend's exports alike.

Here alone head space (metres, +Y up, face to +Z) becomes Blender's: (x, y, z) → (x, −z, y), face to −Y.
"""
