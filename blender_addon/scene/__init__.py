"""Builders of Blender data from an avatar bundle, used by the add-on and the backend's exports alike.

Here alone head space (metres, +Y up, face to +Z) becomes Blender's: (x, y, z) → (x, −z, y), face to −Y.

``importing`` brings a folder into the open file in short steps, ``building`` makes the head's objects and
``surface`` its maps; ``identity`` finds them again by UUID. ``rig`` says what bones move, ``skin_group``
what the artist's sliders do. ``quality``, ``photo``, ``relight``, ``confidence`` and ``asset`` work on a
head that is there. No module uses operators that depend on what is selected or open, and none keeps a
reference to Blender's data from one call to the next.
"""
