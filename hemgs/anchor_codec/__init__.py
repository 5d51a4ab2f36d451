"""The common parts of all codecs of anchors: HEMGS, HAC, ContextGS and HAC++ extend them.

Owns

* the base classes of a method (``method``) and of a bitstream (``codec``, ``grid_codec``),
* the sections that all files contain (``file``, ``header``, ``stored_networks``),
* streams of symbols (``streams``), masks (``masks``) and base steps (``steps``),
* predictions (``prediction``, ``mixture``, ``channels``, ``likelihood``),
* the hash grid (``hash_grid``, ``location_grid``) and the two-layer network (``networks``),
* the phases of training (``phases``),
* settings of methods (``params``) and their parts (``settings``), without torch.

Does not own what any codec predicts or in which order it codes anchors, the entropy coder and its
tables (``hemgs.coding``), or the anchors (``hemgs.anchors``).
"""
