"""What everything else stands on: types, errors, configuration, records, progress, files.

Owns plain data and its validation; no torch but in ``bundle`` and ``device``. Does not own any algorithm.
"""
