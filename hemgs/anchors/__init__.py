"""Anchors: lattice points with a feature, from which small networks make Gaussians for each view.

Owns the anchor model of Scaffold-GS (Lu et al., arXiv 2312.00109) as the compression literature uses it. This includes
the lattice, the heads, growing and pruning, rendering of a finished set, and the interface through which a codec
replaces the attributes while training. Does not own optimisers and schedules (``hemgs.training``) or entropy models
(``hemgs.anchor_codec``).
"""
