"""The configuration in YAML files and ``--set``: datasets, methods, benchmarks, and settings of methods.

Owns the meaning of the files under ``workflow/config``, their defaults, and every check that can be made before
anything runs. Does not own reading files (``hemgs.core.reading``), or any work or result. The package imports no torch.
"""
