"""Converts wire values to field values: strictly, without loss, and alike on every database.

Takes what JSON decodes to, or what ``prepare`` made of it, and returns what the model field gives
back when the row is read. A value that would not come back unchanged is ``Refused``. ``choices``
and validators do not apply. Writes no row and knows no mapping.
"""

from .documents import JSON_NULL, JsonNull, is_given_back
from .fields import (
    absent,
    convert,
    convert_all,
    converter,
    gives_back_what_it_takes,
    longest_plain_key,
    same,
    target_column,
    wire_type,
)
from .keys import convert_key, key_converter, key_text, parent_key_converter
from .numbers import read_number
from .printable import printable
from .refusal import Refused

__all__ = [
    "JSON_NULL",
    "JsonNull",
    "Refused",
    "absent",
    "convert",
    "convert_all",
    "convert_key",
    "converter",
    "gives_back_what_it_takes",
    "is_given_back",
    "key_converter",
    "key_text",
    "longest_plain_key",
    "parent_key_converter",
    "printable",
    "read_number",
    "same",
    "target_column",
    "wire_type",
]
