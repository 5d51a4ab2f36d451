"""The analysis of measured points: summary, tables, figures and the page.

Owns means, comparisons and drawings, and the format of printed numbers. Does not own measuring (``hemgs.bench``) or the
list of expected results, which is the workflow's plan. The package never imports torch, so tables and figures can be
made again on a machine that cannot train.

``summary`` computes ``results/summary`` once from ``points.csv`` files. ``tables``, ``figures`` and ``page`` read
nothing else. The same inputs give the same bytes. Metrics and sections come from ``hemgs.core.catalogue``.
"""
