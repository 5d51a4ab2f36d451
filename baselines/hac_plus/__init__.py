"""HAC++ (Chen et al., arXiv 2501.12255): HAC, and what an anchor's first channels tell about its others.

Owns its entropy model and part in training (``model``), its bitstream (``codec``) and the interface to the benchmark
(``method``). Does not own the anchors, the phases of training, masks in the rate, the hash grid or the coder, which it
has in common with HEMGS, nor the network behind the grid, which it has in common with HAC.
"""
