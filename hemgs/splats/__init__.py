"""Plain 3D Gaussians: as values, in training, and as what every method on them shares.

Owns clouds (``cloud``), initialisation (``init``), adaptive density control (``densify``), the exchange format
(``ply``), the training step (``training``) with what a method may change of it (``model``, ``params``), and the base
class of methods (``method``). Does not own rendering, the loop, or the bitstream of any method.
"""
