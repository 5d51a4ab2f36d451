"""Readers of captures on disk: one per format, each returns a ``hemgs.data.capture.Capture``.

Owns the formats: COLMAP models in binary and text form (``colmap``), Blender transforms (``blender``). Does not own
where a capture lies (``hemgs.data.fetch``), nor splits and resizing (``hemgs.data.prepare``).
"""
