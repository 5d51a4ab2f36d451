"""Programs for those who work on this repository: they make what the package ships, and check what a person writes.

Owns how each shipped file comes about: ``make_tables`` makes ``hemgs/coding/tables.npz``, ``make_pointnet`` and
``make_projection`` make the weights in ``hemgs/assets``. Also owns the check of words (``check_words``). Does not own
what reads the shipped files. Nothing in ``hemgs`` or ``baselines`` imports a tool, and tools are not installed.
"""
