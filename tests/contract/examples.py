"""Examples of a message type as JSON, made of the type itself, so that a new event cannot be forgotten."""

from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

WORDS: Final = {
    "order_id": "o-42",
    "customer_id": "c-7",
    "payment_id": "pay-o-42",
    "account_id": "tok_ok_ada",
    "method_token": "tok_ok_ada",
    "tracking_no": "T-1001",
    "delivery_id": "d-1",
    "sku": "mug-blue",
    "email": "ada@shop.example",
    "currency": "EUR",
    "country": "NL",
    "postal_code": "1011 AB",
}
"""The values of text fields in an example; any other text field holds its own name."""

NUMBERS: Final = {"amount_minor": 1999, "quantity": 2, "requested": 5, "available": 3}
MOMENT: Final = "2026-11-21T09:00:00Z"


def examples(message_type: type[Struct]) -> list[dict[str, Any]]:
    """The usual example first, then one for every other value that a single field may take."""
    return _values(inspect.type_info(message_type), message_type.__name__)


def example(message_type: type[Struct]) -> bytes:
    """The usual example, as it is on the wire."""
    return msgspec.json.encode(msgspec.convert(examples(message_type)[0], message_type))


def _values(kind: inspect.Type, name: str) -> list[Any]:
    match kind:
        case inspect.Metadata():
            return _values(kind.type, name)
        case inspect.StructType():
            values = {field.encode_name: _values(field.type, field.name) for field in kind.fields}
            usual = {field: found[0] for field, found in values.items()}
            return [usual, *({**usual, field: other} for field, found in values.items() for other in found[1:])]
        case inspect.VarTupleType() | inspect.ListType():
            return [[item] for item in _values(kind.item_type, name)] + ([] if kind.min_length else [[]])
        case inspect.UnionType():
            arms = sorted(kind.types, key=lambda arm: isinstance(arm, inspect.NoneType))
            return [value for arm in arms for value in _values(arm, name)]
        case inspect.LiteralType():
            return list(kind.values)
        case inspect.StrType():
            return [WORDS.get(name, name)]
        case inspect.IntType():
            return [max(NUMBERS.get(name, 1), kind.ge or 0, (kind.gt or 0) + 1)]
        case inspect.BoolType():
            return [True, False]
        case inspect.DateTimeType():
            return [MOMENT]
        case inspect.BytesType():
            return ["e30="]
        case inspect.DictType():
            return [{"Nats-Msg-Id": "m-1"}]
        case inspect.NoneType():
            return [None]
        case _:
            raise TypeError(f"{name}: a message has no field of the kind {type(kind).__name__}")
