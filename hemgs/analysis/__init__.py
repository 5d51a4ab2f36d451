"""From measured points to tables, figures and the page.

Owns what is averaged, compared and drawn, and how numbers are printed. Does not own how any of them was measured
(``hemgs.bench``), which results should exist (the workflow's plan says so), and never imports torch: tables and figures
can be made again on a machine that cannot train.

Everything goes through ``results/summary``: the summary is computed once from ``points.csv`` files, and tables,
figures and page read nothing else. The same inputs give the same bytes.
"""
