"""Plain 3D Gaussians: as a value, from a point cloud, growing and shrinking, and as a PLY file.

Owns ``GaussianCloud`` (``cloud``), initialisation (``init``), adaptive density control (``densify``) and the exchange
format (``ply``). Does not own rendering them, training them, or coding them.
"""
