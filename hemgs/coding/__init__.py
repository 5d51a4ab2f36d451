"""Integers to bytes and back: the lossless half of every codec.

Owns the ``.gsc`` file (``container``), the entropy coder (``rans``) and its tables (``tables``, made by
``tools/make_tables``), the coder of bits whose probabilities learn (``adaptive``), quantisation steps (``quantize``),
exact network arithmetic (``fixed_point``), ``morton`` keys, and the coding of what all anchor methods share:
``locations`` (also as an ``octree``), ``masks``, ``signs`` of a hash grid, network ``weights``.

Does not own what is coded in which order, or which network predicts a distribution (``hemgs.anchor_codec``, methods).
What decides a probability, a step or an order here is integer arithmetic, so that a file made on one device decodes on
any. Bytes from outside are never trusted: a decoder raises ``BitstreamError`` or returns, and allocates no more than
the sizes that its caller names.
"""
