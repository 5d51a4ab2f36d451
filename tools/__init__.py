"""Programs for contributors to this repository: they make files that the package ships, and check its texts.

Owns making the shipped files: ``make_tables`` makes ``hemgs/coding/tables.npz``, ``make_pointnet`` and
``make_projection`` make the weights in ``hemgs/assets``. Also owns the check of words (``check_words``). Does not own
the code that reads the shipped files. Nothing in ``hemgs`` or ``baselines`` imports a tool, and tools are not
installed.
"""
