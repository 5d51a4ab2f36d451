"""Programs that made what the package ships: ``python -m tools.NAME [FILE]``.

Owns how each shipped file comes about: ``make_tables`` makes ``hemgs/coding/tables.npz``, ``make_pointnet`` and
``make_projection`` make the weights in ``hemgs/assets``. Does not own what reads these files. Nothing in ``hemgs`` or
``baselines`` imports a tool, and the tools are not installed.
"""
