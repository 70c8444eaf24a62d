"""The connection that the function belongs to."""

from wit_world.imports import connection
from wit_world.imports import log as hub_log

from .convert import from_value, to_value


def query(statement, *parameters):
    """The rows of a statement in text, such as SQL, each as a dict; one after another, so they need not fit into memory."""
    yield from _rows(connection.Statement_Text(statement), parameters)


def command(*parts):
    """The rows of a command and its arguments."""
    yield from _rows(connection.Statement_Command([to_value(part) for part in parts]), ())


def document(json_text):
    """The rows of a query document in extended JSON."""
    yield from _rows(connection.Statement_Document(json_text), ())


def _rows(statement, parameters):
    values = [to_value(value) for value in parameters]
    with connection.query(statement, values, connection.Encoding.ROWS) as cursor:
        while (batch := cursor.next()) is not None:
            names = [field.name for field in batch.value.fields]
            for row in batch.value.rows:
                yield dict(zip(names, map(from_value, row)))


def log(message, level="info"):
    """A line for the hub's log. Never values of cells, never secrets."""
    hub_log.write(hub_log.Level[level.upper()], message)
