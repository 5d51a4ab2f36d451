"""What several baselines need and HEMGS does not.

``raw_floats``: the sections of methods that do not compress. ``predictor`` and ``tanh_steps``: the network of HAC and
its successors, and the steps that it chooses. ``anchor_codec``: the way from trained anchors to a file and back, and
``rival`` to the benchmark. ``grid_model``: that network behind a hash grid, as HAC and HAC++ have it, and
``grid_codec`` their bitstream. Knows none of the baselines.
"""
