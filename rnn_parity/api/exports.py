"""A model checked against exports of the whole of it: every recurrent layer in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rnn_parity import keras_adapter
from rnn_parity.api.judging import judged_answers
from rnn_parity.api.saved import Opened
from rnn_parity.errors import InputError, RnnParityError
from rnn_parity.implementations.whole_model import Export, Found, takes_model, whole_model
from rnn_parity.keras_adapter.parts import selected
from rnn_parity.verdict.results import Check, ModelOutput

if TYPE_CHECKING:
    from rnn_parity.implementations.sources import Source

UNSEEN = "its inputs in the export were not seen, so that this is no proof; from Keras's inputs, "


def exports_of(opened: Opened, others: Sequence[Source]) -> dict[str, Export]:
    """Those of `others` that are exports of the whole model, by name.

    A source that takes what the model takes is one, unless the model is a single recurrent layer:
    that is asked for as any other implementation of it. So is one of a model with several recurrent
    layers that takes something else: it is refused with what both take. A model that does not run
    in this process has none.
    """
    able = [source for source in others if source.export is not None]
    if opened.model is None or not able:
        return {}
    alone, several = keras_adapter.recurrent_alone(opened.model)
    found = {}
    for source in able:
        assert source.export is not None
        try:
            export = None if alone else source.export()
        except RnnParityError:
            if len(others) == 1:
                raise
            continue  # it says why when it is asked as any other
        if export is not None and (several or takes_model(opened.model, opened.inputs[0], export)):
            found[source.name] = export
    return found


def check_export(
    opened: Opened, name: str, export: Export, outputs: list[ModelOutput]
) -> Iterator[Check]:
    """A check of every recurrent layer in an export; `outputs` gets what became of the model's.

    Raises `InputError` where model and export do not belong together, for an unknown `layer_name`,
    and for what Keras or a runtime refuses.
    """
    if len(opened.inputs) != 1:
        raise InputError(
            f"against {name!r}: expected one call of the whole model, received "
            f"{len(opened.inputs)}; leave out --calls"
        )
    whole = whole_model(opened.model, opened.inputs[0], export, opened.mask)
    layers = chosen(whole.layers, opened.layer_name)
    judged = judged_answers(((one.call, name) for one in layers), "model", opened.path)
    yield from (seen(one, check) for one, check in zip(layers, judged, strict=True))
    outputs += [replace(one, path=opened.path, against=name) for one in whole.outputs]


def chosen(layers: Sequence[Found], layer_name: str | None) -> Sequence[Found]:
    """The layers that a person means by `layer_name`, all for None."""
    if layer_name is None:
        return layers
    names = selected(list(dict.fromkeys(one.call.layer_name for one in layers)), layer_name)
    return [one for one in layers if one.call.layer_name in names]


def seen(found: Found, check: Check) -> Check:
    """The check; one of a layer whose inputs were not seen proves no divergence."""
    if found.inputs or check.verdict not in ("diverged", "suspect"):
        return check
    return replace(
        check,
        verdict="inconclusive",
        summary=f"{UNSEEN}{check.summary}",
        effective_bits=None,
        causes=(),
        implied_weights=None,
    )
