"""What several baselines need and HEMGS does not.

``raw_floats``: the sections of methods that do not compress. ``predictor`` and ``tanh_steps``: the network of HAC and
its successors, and the steps that it chooses. Knows none of the baselines.
"""
