"""Parts that several baselines share and HEMGS does not use.

``raw_floats``: the sections of methods that do not compress. ``predictor`` and ``tanh_steps``: the network of HAC and
its successors, and the steps that it chooses. ``grid_model``: that network behind a hash grid, as HAC and HAC++ have
it, and ``grid_codec`` their bitstream. Knows none of the baselines.
"""
