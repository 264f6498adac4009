"""Writing avatars: previews, reports, .blend and .glb."""
