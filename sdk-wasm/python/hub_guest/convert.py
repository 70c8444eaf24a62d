"""Python's values and the contract's. Nothing is converted with loss: what does not fit raises."""

import datetime
from decimal import Decimal

from wit_world.imports import types

EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.date()
MICROSECOND = datetime.timedelta(microseconds=1)

Field = types.Field

_COLUMN_TYPES = {
    bool: types.ColumnType_Boolean,
    int: types.ColumnType_Signed,
    float: types.ColumnType_Float,
    str: types.ColumnType_Text,
    bytes: types.ColumnType_Bytes,
    datetime.date: types.ColumnType_Date,
    datetime.time: types.ColumnType_Time,
    datetime.datetime: types.ColumnType_Timestamp,
}


def field(name, python_type, nullable=True):
    """A column of bool, int (64 bits with sign), float, str, bytes, date, time or datetime without a zone."""
    return types.Field(name, _COLUMN_TYPES[python_type](), nullable, None)


def key(name, python_type, place=0):
    """A column of the key: never null. `place` counts from 0."""
    return types.Field(name, _COLUMN_TYPES[python_type](), False, place)


def decimal(name, precision, scale, nullable=True):
    """A column of Decimal: all digits, and those behind the point."""
    return types.Field(name, types.ColumnType_Decimal(types.Digits(precision, scale)), nullable, None)


def from_value(value):
    """A value that came from the connection."""
    match value:
        case types.Value_Null():
            return None
        case types.Value_Decimal(digits):
            return Decimal(digits)
        case types.Value_Date(days):
            return EPOCH_DAY + datetime.timedelta(days=days)
        case types.Value_Time(micros):
            return (EPOCH + micros * MICROSECOND).time()
        case types.Value_Timestamp(micros):
            return EPOCH + micros * MICROSECOND
        case types.Value_Instant(micros):
            return (EPOCH + micros * MICROSECOND).replace(tzinfo=datetime.timezone.utc)
        case _:
            return value.value


def to_value(value):
    """A value that goes to the hub."""
    match value:
        case None:
            return types.Value_Null()
        # bool is an int, and datetime a date: the narrower first.
        case bool():
            return types.Value_Boolean(value)
        case int():
            if not -(2**63) <= value < 2**64:
                raise OverflowError(f"{value} does not fit into 64 bits")
            return types.Value_Signed(value) if value < 2**63 else types.Value_Unsigned(value)
        case float():
            return types.Value_Float(value)
        case Decimal():
            return types.Value_Decimal(format(value, "f"))
        case str():
            return types.Value_Text(value)
        case bytes():
            return types.Value_Bytes(value)
        case datetime.datetime() if value.tzinfo is not None:
            naive = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            return types.Value_Instant((naive - EPOCH) // MICROSECOND)
        case datetime.datetime():
            return types.Value_Timestamp((value - EPOCH) // MICROSECOND)
        case datetime.date():
            return types.Value_Date((value - EPOCH_DAY).days)
        case datetime.time():
            return types.Value_Time((datetime.datetime.combine(EPOCH_DAY, value) - EPOCH) // MICROSECOND)
    raise TypeError(f"A {type(value).__name__} is no value of a row")
