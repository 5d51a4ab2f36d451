"""ContextGS (Wang et al., NeurIPS 2024, arXiv 2405.20721): coarse anchors predict finer ones.

Owns the levels of anchors (``levels``), the prior of the latents (``density``) and their coding (``hyper``). Owns the
entropy model and its part in training (``model``), the bitstream (``codec``) and the interface to the benchmark
(``method``). Does not own the anchors, the phases of training or the coder, which HEMGS shares, or the network that
predicts attributes, which HAC shares (``baselines.shared.predictor``).
"""
