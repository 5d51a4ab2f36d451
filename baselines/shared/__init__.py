"""What several baselines need and HEMGS does not: ``raw_floats``, the sections of methods that do not compress.

Knows none of the baselines.
"""
