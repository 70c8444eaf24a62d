"""What a function yields, and the class that the contract wants."""

import json
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world.exports import reader
from wit_world.imports import types

from .convert import to_value
from .failure import fail


@dataclass
class Rows:
    """Rows: lists of values in the order of the fields. Every batch of a run has the same fields."""

    fields: list
    rows: list


@dataclass
class Boundary:
    """All before it may become visible together. With a position, a dict, a later run resumes exactly there."""

    position: dict | None = None


def export(function, position_version=1):
    """The class to be named `Reader` in the module that is built. `function(arguments, position)` is a generator.

    Raise `position_version` when the shape of the positions changes.
    """

    class Reader:
        events = iter(())

        def position_version(self):
            return position_version

        def open(self, arguments, position):
            position = None if position is None else json.loads(position)
            Reader.events = function(json.loads(arguments), position)

        def next(self):
            try:
                return _event(next(Reader.events, None))
            except Err:
                raise
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise fail("invalid-data", f"The function failed: {type(error).__name__}: {error}") from error

    return Reader


def _event(event):
    match event:
        case None:
            return reader.Event_End()
        case Boundary(position):
            return reader.Event_Boundary(None if position is None else json.dumps(position))
        case Rows(fields, rows):
            values = [[to_value(value) for value in row] for row in rows]
            return reader.Event_Rows(types.Batch_Rows(types.RowBatch(fields, values)))
    raise TypeError(f"A function yields Rows and Boundary, and not {type(event).__name__}")
