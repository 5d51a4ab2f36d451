"""HAC++ (Chen et al., arXiv 2501.12255): HAC, where an anchor's first channels also predict its other channels.

Owns its entropy model and part in training (``model``), its bitstream (``codec``) and the interface to the benchmark
(``method``). Does not own the parts that it shares with HEMGS: anchors, phases of training, masks in the rate, hash
grid and coder. Does not own the network behind the grid, which it shares with HAC.
"""
