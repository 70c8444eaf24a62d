"""What goes wrong."""

from componentize_py_types import Err
from wit_world.imports import types

Failure = Err


def fail(kind, message, hint=None, retryable=False):
    """An exception to raise. The kind is one of the hub's: invalid-config, invalid-data, not-found, unavailable …"""
    return Err(types.Failure(kind, message, hint, retryable))
