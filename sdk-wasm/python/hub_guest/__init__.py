"""Custom functions of Connector Hub in Python: write a generator, and export it.

    def orders(arguments, position):
        ...
        yield Rows(FIELDS, rows)
        yield Boundary({"last": last})

    Reader = export(orders)
"""

from .convert import Field, decimal, field, key
from .failure import Failure, fail
from .function import Boundary, Rows, export
from .query import command, document, log, query

__all__ = [
    "Boundary",
    "Failure",
    "Field",
    "Rows",
    "command",
    "decimal",
    "document",
    "export",
    "fail",
    "field",
    "key",
    "log",
    "query",
]
