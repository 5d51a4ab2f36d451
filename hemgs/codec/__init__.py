"""HEMGS (arXiv 2411.18473): its entropy model, and the bitstreams it writes.

Owns hyperprior, rate predictor, context and distributions in float (``model``), their exact integer
form (``integer_model``), their part in training (``training``), the traversal that encoder and
decoder share (``traversal``), the bitstream (``bitstream``), the refit of entropy models on frozen
symbols (``refit``), and HEMGS as a method (``method``).

Does not own what all codecs of anchors share (``hemgs.anchor_codec``), the frozen network over
locations (``hemgs.pointnet``), the entropy coder (``hemgs.coding``) or the anchors
(``hemgs.anchors``).
"""
