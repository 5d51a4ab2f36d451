"""The scene-agnostic branch: a frozen PointNet++ over anchor locations, in exact integers.

Owns the networks' architectures and weights and the choice of points. Does not own how the weights were made
(``tools``) or the use of the features (``hemgs.codec``).
"""
