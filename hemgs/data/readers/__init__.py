"""Readers of captures on disk. There is one per format, and each returns a ``hemgs.data.capture.Capture``.

Owns the formats: COLMAP models in binary and text form (``colmap``), transforms of Blender, instant-ngp and nerfstudio
(``blender``), points in PLY files (``point_ply``). Does not own where a capture is (``hemgs.data.fetch``), nor splits
and resizing (``hemgs.data.prepare``).
"""
