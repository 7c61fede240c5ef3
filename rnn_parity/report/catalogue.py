"""The list of the known mistakes: their ids, what they mean, and which layers can have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_parity.report.page import PLAIN, Page, Renderable, Style, Table

if TYPE_CHECKING:
    from rnn_parity.diagnosis.faults import Fault


@dataclass(frozen=True)
class Catalogue(Renderable):
    """All faults, as one table."""

    faults: Sequence[Fault]

    def document(self) -> Mapping[str, Any]:
        """The document `rnn-parity/faults/1`."""
        rows = [{"id": f.id, "meaning": f.meaning, "layers": f.layers} for f in self.faults]
        return {"schema": "rnn-parity/faults/1", "faults": rows}

    def page(self, style: Style = PLAIN) -> Page:
        """The table alone."""
        rows = [(f.id, f.meaning, ", ".join(f.layers)) for f in self.faults]
        table = Table(("fault", "meaning", "layers"), (rows,), left=(0, 1, 2), elastic=1)
        return Page(overview=table)
