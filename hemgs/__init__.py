"""Compression of 3D Gaussian splats: a codec (HEMGS, arXiv 2411.18473) and the benchmark that measures codecs.

Import what you need from the packages below; the docstring of each lists what it owns.
"""
