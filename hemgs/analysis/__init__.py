"""From measured points to tables, figures and the page.

Owns what is averaged, compared and drawn, and how numbers are printed. Does not own how they were measured
(``hemgs.bench``) or which results should exist: the workflow's plan lists them. Never imports torch, so tables and
figures can be made again on a machine that cannot train.

``summary`` computes ``results/summary`` once from ``points.csv`` files. ``tables``, ``figures`` and ``page`` read
nothing else. The same inputs give the same bytes. Metrics and sections come from ``hemgs.core.catalogue``.
"""
