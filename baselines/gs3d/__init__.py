"""Plain 3D Gaussian Splatting (arXiv 2308.04079) without compression: the starting point of every table.

Owns its training (``model``), its bitstream (``codec``) and the interface to the benchmark (``method``). Does not own
density control, initialisation or rendering: ``hemgs.splats`` and ``hemgs.render``.
"""
