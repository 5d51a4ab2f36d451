"""The scene-agnostic branch: a frozen PointNet++ over anchor locations, in exact integers.

Owns the networks' forms and weights, the choice of points, and the scripts that made what is in the package. Does not
own what features are used for (``hemgs.codec``).
"""
