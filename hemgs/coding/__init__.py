"""Integers to bytes and back: the lossless half of every codec.

Owns

* the ``.gsc`` file (``container``),
* the entropy coder (``rans``), its tables (``tables``, made by ``tools/make_tables``) and mixtures (``mixture``),
* the coder of bits with adaptive probabilities (``adaptive``),
* quantisation steps (``quantize``), exact network arithmetic (``fixed_point``), ``morton`` keys,
* the codecs of ``locations`` (also as an ``octree``), ``masks``, ``signs`` of a hash grid, and network ``weights``,
* the ``names`` of codecs that settings choose from.

Does not own the order of coding, or the networks that predict distributions (``hemgs.anchor_codec``, methods).

Everything here that decides a probability, a step or an order is integer arithmetic. A file made on one device
therefore decodes on any other. Bytes from outside are never trusted: a decoder raises ``BitstreamError`` or returns,
and allocates no more than the sizes that its caller names.
"""
