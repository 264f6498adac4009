"""The evaluation suite: reconstructions against independent truth. Entry point: ``likeness evaluate``.

``cases`` reads truth, ``methods`` makes reconstructions, ``registry`` names the metrics, ``runner`` brings
them together, ``report`` and ``compare`` say what came out. Nothing here needs Blender.
"""
