"""Random messages, valid ones and odd ones."""

from __future__ import annotations

from hypothesis import strategies as st

from durable_state.protocol import ControlKind, Operation

__all__ = ["json_values", "odd_messages"]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


odd_messages = st.fixed_dictionaries(
    {},
    optional={
        "type": st.text(max_size=3) | json_values,
        "key": st.text(max_size=3) | json_values,
        "value": json_values,
        "old_value": json_values,
        "headers": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "operation": st.sampled_from([*Operation, "x"]) | json_values,
                "control": st.sampled_from([*ControlKind, "x"]) | json_values,
                "txid": json_values,
            },
        ),
        "surplus": json_values,
    },
)
