"""Weights that belong to the codec or a metric: ``registry.yaml`` lists each with origin, licence, size and SHA-256.

Owns the list. Finding and checking a file is ``hemgs.core.assets``.
"""
