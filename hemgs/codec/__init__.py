"""HEMGS (arXiv 2411.18473): its entropy model and its bitstreams.

Owns

* hyperprior, rate predictor, context and distributions in float (``model``), and in exact integers
  (``integer_model``),
* their part in training (``training``), and the traversal of encoder and decoder (``traversal``),
* the bitstream (``bitstream``), HEMGS as a method (``method``), and its settings, without
  torch (``params``, ``settings``),
* the refit of entropy models on frozen symbols (``refit``).

Does not own the common parts of all codecs of anchors (``hemgs.anchor_codec``), the frozen network over
locations (``hemgs.pointnet``), the entropy coder (``hemgs.coding``) or the anchors
(``hemgs.anchors``).
"""
