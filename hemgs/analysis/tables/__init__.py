"""The printed tables: each is a module named after its id, with a :class:`TableSpec` called ``TABLE``.

Owns what each table contains, how its numbers are rounded (``cells``), and the files it is written in (``formats``).
Does not own arithmetic: means, BD-rates and verdicts come from ``hemgs.analysis.summary``. To add a table, list its id
in ``hemgs.core.catalogue`` and write its module here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from hemgs.analysis.tables.table import TableSpec
from hemgs.core.catalogue import ON_REQUEST_TABLES, TABLES

#: Every table by id, in the order they are shown in.
TABLE_SPECS: Mapping[str, TableSpec] = {
    name: importlib.import_module(f"{__name__}.{name}").TABLE for name in (*TABLES, *ON_REQUEST_TABLES)
}
