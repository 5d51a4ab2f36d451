"""Parts that several baselines share and HEMGS does not use.

Owns

* ``raw_floats``: the sections of methods that do not compress,
* ``predictor`` and ``tanh_steps``: the network of HAC and its successors, and the steps that it predicts,
* ``grid_model`` and ``grid_codec``: that network behind a hash grid, and its bitstream, for HAC and HAC++.

Does not own any baseline, and imports none.
"""
