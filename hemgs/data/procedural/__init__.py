"""Procedural captures: small scenes that a ray marcher of this package renders, for the demonstration and for tests.

Owns the scenes (``layouts``), their building blocks (``solids``), surfaces (``textures``) and light (``raymarch``), and
writes them as captures with a COLMAP model (``capture``). Does not own how a capture is read back (``readers``).
"""

from hemgs.data.procedural.capture import write_procedural

__all__ = ["write_procedural"]
