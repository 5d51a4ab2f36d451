"""The printed tables: what each contains, how numbers are rounded, and the files they are written in."""
