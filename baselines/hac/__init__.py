"""HAC (Chen et al., ECCV 2024, arXiv 2403.14530): a binary hash grid predicts the attributes of anchors.

Owns its entropy model and part in training (``model``), its bitstream (``codec``) and the interface to the benchmark
(``method``). Does not own the anchors, the phases of training, the hash grid or the coder, which HEMGS shares.
"""
