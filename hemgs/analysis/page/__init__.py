"""The results as one self-contained HTML file: tables, interactive curves, decoded views, bytes, provenance.

``document`` puts the file together; ``script_data``, ``showcase`` and ``headlines`` are its parts; ``templates`` holds
HTML, style and script, which know no metric, section or table by name.
"""
