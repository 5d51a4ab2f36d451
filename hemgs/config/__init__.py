"""What YAML files and ``--set`` may say: datasets, methods, benchmarks, and settings of methods.

Owns the meaning of the files under ``workflow/config``, their defaults, and every check that can be made before
anything runs. Does not own reading files (``hemgs.core.reading``), results, or how anything is done. Imports no torch.
"""
