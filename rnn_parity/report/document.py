"""JSON: one document on one line, which holds nothing but JSON's own types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rnn_parity.report.page import Renderable, Style


def render(report: Renderable, style: Style) -> str:
    """The document of a report; no style changes it."""
    return as_json(report.document())


def as_json(document: Any) -> str:
    """`document` on one line; what a terminal or a workflow runner would obey is escaped."""
    text = json.dumps(plain(document), allow_nan=False)
    return text.replace("\x7f", "\\u007f").replace("##", "#\\u0023")


def plain(value: Any) -> Any:
    """`value` as JSON holds it: no NaN or infinity, nothing but its own types."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Sequence):
        written = (field.name for field in fields(value) if field.metadata.get("document", True))
        return {name: plain(getattr(value, name)) for name in written}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)):
        return [plain(item) for item in value]
    # NumPy's arrays and numbers; whatever else a layer's configuration holds is named.
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
