"""HEMGS's entropy model: what every attribute is expected to be, and what it costs to say otherwise.

Owns the hash grid, hyperprior, rate predictor and distributions in float (``model``), their exact integer form
(``fixed``), their part in training (``simulation``), and the bitstream that they code (``bitstream``). Does not own the
arithmetic coder and its tables (``hemgs.coding``), nor the anchors (``hemgs.anchors``).
"""
