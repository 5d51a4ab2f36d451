"""The results as one self-contained HTML file: tables, interactive curves, decoded views, bytes, provenance.

``document`` makes the file from the parts ``script_data``, ``showcase`` and ``headlines``. ``templates`` contains HTML,
style and script, which name no metric, section or table.
"""
