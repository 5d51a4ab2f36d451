"""The base of every other package: types, errors, the catalogue of metrics and sections, records, progress, files.

Owns plain data and its checks, the devices (``device``) and the options of compiled kernels (``jit``). Only ``bundle``
and ``device`` import torch, only ``jit`` numba. Does not own any algorithm, nor what users configure
(``hemgs.config``).
"""
