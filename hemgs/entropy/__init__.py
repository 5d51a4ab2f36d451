"""Entropy models of anchors: what every attribute is expected to be, and what it costs to say otherwise.

Two halves. What all codecs of the HAC family share: base steps (``steps``), predictions (``prediction``), the phases of
training (``phases``), streams of symbols (``streams``), what their files hold alike (``anchor_header``,
``anchor_file``), and the hash grid (``hashgrid``, ``location_grid``). And HEMGS's own: hyperprior, rate predictor,
context and distributions in float (``model``), their exact integer form (``fixed``), their part in training
(``simulation``), and the bitstream that they code (``bitstream``).

Does not own the arithmetic coder and its tables (``hemgs.coding``), nor the anchors (``hemgs.anchors``).
"""
