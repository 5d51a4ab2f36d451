"""Plain 3D Gaussians: their values, their training, and the base class of methods on them.

Owns clouds (``cloud``), initialisation (``init``), adaptive density control (``densify``) and the exchange format
(``ply``). Owns the training step (``training``), what a method may change of it (``model``, ``params``), and the base
class of methods (``method``). Does not own rendering, the loop, or the bitstream of any method.
"""
