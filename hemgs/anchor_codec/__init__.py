"""What every codec of anchors shares: HEMGS, HAC, ContextGS and HAC++ extend it.

Owns the base classes of a method (``method``) and of a bitstream (``codec``), the sections that
all files contain (``file``, ``header``, ``stored_networks``), streams of symbols (``streams``),
predictions (``prediction``, ``mixture``, ``channels``, ``likelihood``), base steps (``steps``),
masks (``masks``), the hash grid (``hash_grid``, ``location_grid``), the two-layer network
(``networks``) and the phases of training (``phases``).

Does not own what any codec predicts or in which order it codes anchors, the entropy coder and its
tables (``hemgs.coding``), or the anchors (``hemgs.anchors``).
"""
