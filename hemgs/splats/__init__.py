"""Plain 3D Gaussians: as values, in training, and as what every method on them shares.

Owns clouds (``cloud``), initialisation (``init``), adaptive density control (``densify``) and the exchange format
(``ply``). Owns the training step (``training``), what a method may change of it (``model``, ``params``), and the base
class of methods (``method``). Does not own rendering, the loop, or the bitstream of any method.
"""
