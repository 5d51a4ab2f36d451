"""Scaffold-GS (arXiv 2312.00109) without compression: the starting point of every method that codes anchors.

Owns its bitstream (``codec``) and the interface to the benchmark (``method``). Does not own the anchor model, its
training or rendering: ``hemgs.anchors`` and ``hemgs.anchors.training``, which the compressed methods share.
"""
