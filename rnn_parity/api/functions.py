"""The public functions: check a layer or a model, replay one, compare what somebody observed.

An ONNX model and one of TensorFlow.js are checked against their own weights, without Keras. What
only some targets need is imported where they are checked: the others answer sooner.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn_parity import keras_adapter
from rnn_parity.api.examination import examine
from rnn_parity.api.generated import (
    RETURNED,
    GeneratedLayer,
    known_refusals,
    random_inputs,
    random_mask,
    random_state,
)
from rnn_parity.api.invented import telling, told
from rnn_parity.api.judging import (
    by_call,
    checks_of_each,
    jobs_of,
    judged,
    judged_call,
    judged_sources,
    subject_of,
)
from rnn_parity.diagnosis.faults import named_faults
from rnn_parity.errors import InputError
from rnn_parity.implementations.against import call_to_compute, others_of
from rnn_parity.recurrence.cells import Cell
from rnn_parity.recurrence.layer_call import LayerCall
from rnn_parity.recurrence.precision import real, refuse_masked
from rnn_parity.recurrence.sequences import Sequences, boolean
from rnn_parity.recurrence.time_loop import Trace
from rnn_parity.recurrence.time_loop import replay as replay_sequences
from rnn_parity.report.report import Report
from rnn_parity.verdict.bidirectional import judge_merge
from rnn_parity.verdict.judge import Observations
from rnn_parity.verdict.results import Check, ModelOutput, Subject, TargetError

if TYPE_CHECKING:
    from rnn_parity.api.saved import ModelRun, Opened
    from rnn_parity.implementations.sources import Source

MOST_MOVED = 16
"""How many times as far as two right computations of the layers below of a stack a third may move
what reaches a layer. Chosen: 7 of 120 right stacks were called diverged without it, none with it; a
mistake is some thousand times as far off, unless the layers below are chaotic."""
DEFAULT_MODE = "graph"
"""How Keras runs what is checked, unless somebody says otherwise."""


def replay(
    layer_or_weights: Any,
    inputs: ArrayLike,
    mask: ArrayLike | None = None,
    initial_state: Any = None,
) -> Trace:
    """The recurrence computed by hand, in float64.

    `layer_or_weights` is a Keras layer, a `SimpleRNN`, an `LSTM` or a `GRU`; `inputs` is `(B, T,
    F)`, `mask` `(B, T)`, `initial_state` `(B, H)`, a pair (h, c) of them for an LSTM. The trace's
    `outputs` are `(B, T, H)` in processing order, its `final_state` is like the initial one.
    Raises `InputError` for a shape that does not fit.
    """
    layer = weights_of(layer_or_weights)
    return replay_sequences(layer, Sequences.of(layer, inputs, mask, initial_state))


def compare(
    weights: Cell,
    inputs: ArrayLike,
    observed_outputs: ArrayLike,
    observed_final_state: Any = None,
    mask: ArrayLike | None = None,
    initial_state: Any = None,
    strict: bool = False,
    ignore: str | Sequence[str] = (),
    allow_known: bool = False,
) -> Report:
    """Hold outputs that some implementation computed against the replay of `weights`.

    `observed_outputs` is `(B, T, H)` in processing order, or `(B, H)` when only the last output is
    known; the rest is as in `replay`. `strict`, `ignore` and `allow_known` are as in `check`.
    Memory maps are read block by block. Needs NumPy alone.
    Raises `InputError` when inputs, mask or initial state do not fit; outputs of another shape are
    a result, `diverged`.
    """
    allowed = allowances(strict, ignore, allow_known)
    layer = weights_of(weights)
    sequences = Sequences.of(layer, inputs, mask, initial_state)
    observed = Observations.of(layer, observed_outputs, observed_final_state)
    subject = Subject(layer_class=type(layer).__name__)
    return Report((examine(layer, sequences, observed, subject),), **allowed)


def allowances(
    strict: bool = False, ignore: str | Sequence[str] = (), allow_known: bool = False
) -> dict[str, Any]:
    """What changes whether a report is true and no verdict, as fields of a `Report`.

    Raises `InputError` for what is to be ignored and is no fault.
    """
    found: dict[str, Any] = {"strict": strict, "allow_known": allow_known, "set_by": ARGUMENTS}
    return {**found, "ignore": named_faults(ignore, "ignore")} if ignore else found


ARGUMENTS = {
    "strict": "strict=True",
    "allow_known": "allow_known=True",
    "ignore": "ignore=[FAULT, ...]",
}
"""How a report names what its caller gave it."""


def weights_of(layer_or_weights: Any) -> Cell:
    """Weights as they are, a Keras layer's weights otherwise."""
    if isinstance(layer_or_weights, Cell):
        return layer_or_weights
    refuse_path(layer_or_weights, "weights")
    if not hasattr(layer_or_weights, "get_weights") or isinstance(layer_or_weights, type):
        raise InputError(
            "weights: expected a SimpleRNN, an LSTM or a GRU of rnn_parity, or a layer of Keras, "
            f"received {named_kind(layer_or_weights)}"
        )
    return keras_adapter.layer_weights(layer_or_weights)


TAKEN = "an array, (batch, timesteps, features) for a layer"
"""What a check is to run on."""


def refuse_path(layer_or_model: Any, name: str) -> None:
    """Raise `InputError` for the path of a file where what is in it is expected."""
    if isinstance(layer_or_model, (str, os.PathLike)):
        path = os.fspath(layer_or_model)
        raise InputError(
            f"{name}: expected a layer or a model of Keras, or weights, received the path "
            f"{path!r}; load it, keras.models.load_model({path!r}), or on the command line: "
            f"rnn-parity check {path}"
        )


def named_kind(value: Any) -> str:
    """What a value is, for a message: a class by its name, anything else by that of its class."""
    is_class = isinstance(value, type)
    return f"the class {value.__name__}" if is_class else f"a {type(value).__name__}"


def check(
    layer_or_model: Any,
    inputs: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    initial_state: ArrayLike | None = None,
    against: Any = None,
    mode: str = DEFAULT_MODE,
    layer_name: str | None = None,
    training: bool = False,
    allow_known: bool = False,
    strict: bool = False,
    ignore: str | Sequence[str] = (),
) -> Report:
    """Run a Keras layer (or every recurrent layer of a model) and hold it against its replay.

    `inputs` is what the layer or model takes, and has to be given; `mask` is `(B, T)`;
    `initial_state` `(B, H)`, a pair (h, c) of them for an LSTM, is for a layer only. `mode` is
    "eager", "graph", "xla", "predict" or "all"; `layer_name` selects one layer of a model, or is a
    layer's own; `training` calls it so, dropout and all. With `allow_known`, a divergence that a
    known difference explains is no failure: the report is true, although its verdict is `diverged`.
    With `strict`, a blind spot is one: the report is false, although its verdict is `parity`,
    unless the blind spots are among the faults to `ignore`, ids in which * stands for any letters.

    With `against`, what other implementations compute from the same inputs is checked instead of
    Keras's own outputs: outputs `(B, T, H)`, a callable `f(inputs) -> outputs`, a source as the
    option `--against` takes it, or a list of those. Then weights, such as a `SimpleRNN`, may stand
    for the layer, and Keras runs once, in the (first) mode, where it is needed at all. Raises
    `InputError` for what Keras, the replay or an implementation cannot take.
    """
    allowed = allowances(strict, ignore, allow_known)
    refuse_path(layer_or_model, "layer")
    if inputs is None:
        raise InputError(f"inputs: expected {TAKEN}, received none; give what the layer is to read")
    others = others_of(against, training)
    if isinstance(layer_or_model, Cell):
        refuse_unused(layer_name, mode)
        if not others:
            raise InputError("against: expected an implementation of these weights, received none")
        call = call_to_compute(layer_or_model, inputs, mask, initial_state)
        checks, errors = judged_sources([call], "layer", None, others)
        return Report(tuple(checks), errors=tuple(errors), **allowed)
    is_model = keras_adapter.is_model(layer_or_model)
    if not is_model:
        refuse_other_name(layer_or_model, layer_name)
        inputs, mask = real(inputs, "inputs"), None if mask is None else real(mask, "mask")
        if mask is not None and inputs.ndim == 3:
            boolean(mask, inputs.shape[:2])
    if is_model:
        from rnn_parity.api.saved import Opened

        refuse_state(initial_state)
        refuse_masked(inputs, "inputs")
        found = Opened(layer_or_model, [inputs], mask, layer_name, training)
        return replace(model_report(found, mode, others), **allowed)
    calls = (
        call
        for one in modes_to_run(mode, others, training)
        for call in keras_adapter.observe_layer(
            layer_or_model, inputs, mask, initial_state, one, training
        )
    )
    return replace(checks_report(calls, "layer", others), **allowed)


def observe(
    layer_or_model: Any,
    inputs: Any,
    mask: Any,
    initial_state: Any,
    mode: str,
    layer_name: str | None = None,
    training: bool = False,
) -> list[LayerCall]:
    """What a layer, or every recurrent layer of a model, computes in one mode."""
    if not keras_adapter.is_model(layer_or_model):
        return keras_adapter.observe_layer(
            layer_or_model, inputs, mask, initial_state, mode, training
        )
    refuse_state(initial_state)
    refuse_masked(inputs, "inputs")
    return keras_adapter.observe_model(layer_or_model, inputs, mode, layer_name, mask, training)


def refuse_state(initial_state: Any) -> None:
    """Raise `InputError` for an initial state where a model is checked."""
    if initial_state is not None:
        raise InputError("initial_state: expected none for a model, whose layers get their own")


def refuse_unused(layer_name: str | None, mode: str) -> None:
    """Raise `InputError` for what means nothing where weights stand for a layer."""
    if layer_name is not None:
        raise InputError(f"layer_name: expected none for weights, received {layer_name!r}")
    if mode != DEFAULT_MODE:
        raise InputError(f"mode: expected none for weights, which Keras does not run, not {mode!r}")


def refuse_other_name(layer: Any, layer_name: str | None) -> None:
    """Raise `InputError` unless `layer_name` is the layer's own, or None."""
    own = getattr(layer, "name", None)
    if layer_name not in (None, own):
        raise InputError(
            f"layer_name: expected a model, or {own!r}, the name of the layer itself, received "
            f"{layer_name!r}; leave it out"
        )


def check_generated(
    spec: GeneratedLayer,
    *,
    inputs: NDArray[Any] | None = None,
    mask: NDArray[np.bool_] | None = None,
    mode: str = DEFAULT_MODE,
    against: Any = None,
    training: bool = False,
) -> Report:
    """Build the layer that `spec` describes, run it on random data, and check it.

    Unless its arguments say otherwise, the layer returns its sequence and its state: there is more
    to see. `inputs` `(B, T, F)` and `mask` `(B, T)` replace the random ones; `against` and
    `training` are as in `check`. Raises `InputError` for an argument, a dtype or data that Keras
    refuses.
    """
    others = others_of(against, training)
    calls = generated_calls(spec, inputs, mask, mode, training, others)
    if inputs is not None:
        return checks_report(calls, "generated", others)
    return told(checks_report(calls, "generated", telling(others)), others, spec.seed)


def generated_calls(
    spec: GeneratedLayer,
    inputs: NDArray[Any] | None,
    mask: NDArray[np.bool_] | None,
    mode: str,
    training: bool = False,
    others: Sequence[Source] = (),
) -> Iterator[LayerCall]:
    """What passes through a layer made for the occasion, in each mode that `mode` stands for.

    It is made anew for each mode, and has one name in all of them: Keras would number it.
    """
    if training:
        keras_adapter.seed_masks(spec.seed)
    first: list[LayerCall] = []
    for one in modes_to_run(mode, others, training):
        with known_refusals(spec, one):
            calls = observe_generated(spec, inputs, mask, one, training)
        first = first or calls
        yield from named_as(first, calls)


def named_as(first: list[LayerCall], calls: list[LayerCall]) -> list[LayerCall]:
    """The calls by the names of the `first` ones; those of a `Bidirectional` stay its parts."""
    named: dict[int, LayerCall] = {}
    for call, same in zip(calls, first, strict=True):
        config = {**call.config, **{k: v for k, v in same.config.items() if k == "name"}}
        named[id(call)] = replace(call, layer_name=same.layer_name, config=config)
    # Who asks others for a whole `Bidirectional` knows its parts among the calls by identity.
    return [
        replace(named[id(call)], parts=tuple(tuple(named[id(p)] for p in ps) for ps in call.parts))
        if call.parts
        else named[id(call)]
        for call in calls
    ]


def observe_generated(
    spec: GeneratedLayer,
    inputs: NDArray[Any] | None,
    mask: NDArray[np.bool_] | None,
    mode: str,
    training: bool = False,
) -> list[LayerCall]:
    """Build the layer and run it on random data, or on `inputs` `(B, T, F)` and `mask` `(B, T)`."""
    arguments = {**RETURNED, **spec.arguments}
    rng = np.random.default_rng(spec.seed)
    calls = random_inputs(spec, rng) if inputs is None else np.stack([inputs] * spec.calls)
    _, batch, timesteps, features = calls.shape
    if mask is None:
        mask = random_mask(spec.mask, batch, timesteps, rng)
    layer = keras_adapter.build_layer(
        spec.layer, spec.units, features, arguments, spec.dtype, spec.seed, batch
    )
    count = keras_adapter.state_count(layer)
    state = random_state(spec.initial_state, batch, spec.units, rng, count)
    return keras_adapter.observe_layer(layer, list(calls), mask, state, mode, training)


def check_model(
    path: str,
    *,
    mode: str = DEFAULT_MODE,
    against: Any = None,
    training: bool = False,
    **run: Any,
) -> Report:
    """Load a `.keras` or `.h5` model and check every recurrent layer on what really reaches it.

    `run` are further fields of a `ModelRun`; `mode`, `against` and `training` are as in `check`.
    Raises `InputError` for a file that is no model or not a safe one, and for inputs, masks and
    sizes that do not fit it.
    """
    from rnn_parity.api.saved import ModelRun, opened

    others = others_of(against, training)
    asked = ModelRun(path, training=training, **run)
    if asked.inputs is not None:
        return model_report(opened(asked, others), mode, others)
    return told(model_report(opened(asked, others), mode, telling(others)), others, asked.seed)


def model_calls(run: ModelRun, mode: str) -> tuple[list[LayerCall], tuple[str, ...]]:
    """What passes through the recurrent layers of a saved model in each mode, and notes on it."""
    from rnn_parity.api.saved import opened

    found = opened(run)
    return list(found.calls(modes_to_run(mode, training=run.training))), found.notes


def model_report(found: Opened, mode: str, others: Sequence[Source]) -> Report:
    """Every recurrent layer of a Keras model, run by Keras or by `others`, in consecutive calls.

    Those of `others` that are exports of the whole model run all of it; others are asked for what
    one layer computes.
    """
    from rnn_parity.api.exports import check_export, exports_of

    exports = exports_of(found, others)
    outputs: list[ModelOutput] = []
    jobs = [(name, check_export(found, name, one, outputs)) for name, one in exports.items()]
    rest = [source for source in others if source.name not in exports]
    calls: Iterable[LayerCall] = ()
    if rest or not others:
        calls = found.calls(modes_to_run(mode, others, found.training))
    if not others:
        return of_model(found, list(judged(calls, "model", found.path)))
    asked = jobs_of(list(calls), "model", found.path, rest)
    checks, errors = checks_of_each([*jobs, *asked], found.path)
    names = set(exports)
    whole = [check for check in checks if check.subject.against in names]
    checks = [*whole, *by_call(check for check in checks if check.subject.against not in names)]
    report = of_model(found, checks, errors)
    return replace(report, model_outputs=tuple(outputs))


def of_model(found: Opened, checks: Sequence[Check], errors: Sequence[TargetError] = ()) -> Report:
    """The report on a Keras model; a note tells where it has nothing to check."""
    nothing = () if checks or errors else (f"{found.name} has no recurrent layer",)
    return replace(keras_report(checks, (*found.notes, *nothing)), errors=tuple(errors))


def modes_to_run(
    mode: str, others: Sequence[Source] = (), training: bool = False
) -> tuple[str, ...]:
    """The modes that a name stands for; the first one where Keras's outputs are not checked."""
    names = keras_adapter.modes_of(mode, training)
    return names[:1] if others else names


def keras_report(checks: Iterable[Check], notes: tuple[str, ...] = ()) -> Report:
    """The report on checks of what ran in this process's TensorFlow."""
    return Report(tuple(checks), device=keras_adapter.device(), notes=notes)


def checks_report(calls: Iterable[LayerCall], kind: str, others: Sequence[Source]) -> Report:
    """The report on what Keras computed in these calls, or on what `others` did in its place."""
    if not others:
        return keras_report(judged(calls, kind))
    checks, errors = judged_sources(calls, kind, None, others)
    return replace(keras_report(checks), errors=tuple(errors))


def check_onnx(
    path: str,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]] | None = None,
    *,
    layer_name: str | None = None,
    seed: int = 0,
    batch: int = 32,
    timesteps: int = 28,
    against: Any = None,
) -> Report:
    """Hold what ONNX Runtime computes in every RNN, LSTM and GRU against the replay.

    `inputs` is the array for the model's only input, in the model's own order of axes, or arrays
    by name; the others are random, with `batch` and `timesteps` for the axes that nothing settles.
    `layer_name` selects one operator, or one direction of it. A bidirectional operator gives two
    checks; what is not replayed is named as not compared.

    With `against`, as in `check`, what others compute from what reached each operator is checked in
    place of what ONNX Runtime computed. The path of another ONNX model with recurrent operators
    stands for what these compute there, each of them checked by the weights of its counterpart
    here. Raises `InputError` for a file that is no model or cannot be run, and
    `MissingPackageError` without the extra `onnx`.
    """
    from rnn_parity.implementations.onnx.calls import (
        computed_by_runtime,
        counterparts,
        observed_model,
    )
    from rnn_parity.implementations.onnx.model import runtime_name

    models, rest = onnx_models(against)
    others = others_of(rest) if rest else []
    others = telling(others) if inputs is None else others
    seen = observed_model(path, inputs, layer_name, batch, timesteps, seed)
    notes = seen.notes if seen.names else (f"{path} has no recurrent operator", *seen.notes)
    if against is None:
        calls = map(computed_by_runtime, seen.calls)
        found = [(call, subject_of(call, "model", path, runtime_name())) for call in calls]
        return Report(tuple(judged_call(*one) for one in found), notes=notes)

    def counterparts_judged(model: str) -> Iterator[Check]:
        for one in counterparts(seen, model) if seen.names else ():
            yield judged_call(one, subject_of(one, "model", path, model))

    jobs = jobs_of(seen.calls, "model", path, others)
    jobs += [(model, counterparts_judged(model)) for model in models]
    checks, errors = checks_of_each(jobs, path)
    of_models = [check for check in checks if check.subject.against in models]
    of_others = by_call(check for check in checks if check.subject.against not in models)
    report = Report((*of_others, *of_models), notes=notes, errors=tuple(errors))
    return report if inputs is not None else told(report, others, seed)


def onnx_models(against: Any) -> tuple[list[str], list[Any]]:
    """The paths of whole ONNX models with recurrent operators among the sources, and the others."""
    from rnn_parity.implementations.onnx.calls import has_operators
    from rnn_parity.implementations.sources import listed

    sources = [] if against is None else listed(against)
    paths = [os.fspath(one) for one in sources if isinstance(one, (str, os.PathLike))]
    models = [one for one in paths if one.lower().endswith(".onnx") and has_operators(one)]
    others = [one for one in sources if not isinstance(one, (str, os.PathLike))]
    return models, [one for one in paths if one not in models] + others


def check_state_dict(
    path: str,
    inputs: NDArray[Any] | None = None,
    mask: NDArray[np.bool_] | None = None,
    arguments: Mapping[str, Any] | None = None,
    *,
    layer_name: str | None = None,
    seed: int = 0,
    batch: int = 32,
    timesteps: int = 28,
    against: Any = None,
) -> Report:
    """Hold what PyTorch computes in every layer and direction of a `state_dict` to the replay.

    `path` is a `.safetensors` file with the weights of `nn.RNN`, `nn.LSTM` and `nn.GRU`; `inputs`
    `(B, T, F)` are those of the one module that is run, otherwise random; `mask` is `(B, T)`,
    padding on the right. `arguments` are what the file does not hold: `nonlinearity`, "tanh" or
    "relu", and `batch_first`, True unless said otherwise. `layer_name` selects a module, a layer or
    one direction.

    With `against`, as in `check`, what others compute from what reaches each layer in PyTorch is
    checked instead. Numbers stand for the last layer of one module, unless another is named; the
    layers below are then named as not compared. Raises `InputError` for a file or data that do not
    fit, and `MissingPackageError` without the extra `torch`.
    """
    from rnn_parity.api.saved import one_array
    from rnn_parity.implementations import torch_target

    others = others_of(against)
    inputs, mask = one_array(inputs, "--input"), one_array(mask, "--mask-file")
    seen = torch_target.observed_state_dict(
        path, inputs, mask, arguments, layer_name, batch, timesteps, seed
    )
    if not others:
        found = [
            (one, subject_of(one, "model", path, torch_target.runtime_name())) for one in seen.calls
        ]
        return Report(tuple(judged_call(*one) for one in found), notes=seen.notes)

    def judged_of(source: Source) -> Iterator[Check]:
        calls, below = seen.asked_of(source)
        for one in below:
            yield judged_call(one, subject_of(one, "model", path, source.name))
        moved = torch_target.moved_by_layers_below(seen.ran) if source.scope == "call" else {}
        for check in judged(calls, "model", path, [source]):
            yield excused(check, moved.get(str(check.subject.layer_name), 0.0))

    asked = others if inputs is not None else telling(others)
    checks, errors = checks_of_each([(one.name, judged_of(one)) for one in asked], path)
    report = Report(tuple(checks), notes=seen.notes, errors=tuple(errors))
    return report if inputs is not None else told(report, others, seed)


def excused(check: Check, moved: float) -> Check:
    """A check of numbers whose layers below another program ran: inconclusive where these explain
    what is off.

    `moved` is how far two right computations of them move the layer's gates.
    """
    off = [row.max_residual for row in check.timesteps]
    off += [row.max_deviation for row in check.final_state if not row.max_ratio <= 1]
    largest = max(off, default=check.max_deviation or 0.0)
    if check.verdict not in ("diverged", "suspect") or not largest <= MOST_MOVED * moved:
        return check
    why = (
        f"a step is off by {largest:.3g}, and two right computations of the layers below move this "
        f"layer by up to {moved:.3g}: numbers alone do not tell which it is; let the program "
        "compute this layer from the inputs that it is handed (cmd:... or module:function)"
    )
    return replace(check, verdict="inconclusive", summary=why, causes=(), implied_weights=None)


def check_tfjs(
    path: str,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]] | None = None,
    *,
    layer_name: str | None = None,
    seed: int = 0,
    batch: int = 32,
    timesteps: int = 28,
) -> Report:
    """Hold what TensorFlow.js computes in every recurrent layer of a model against the replay.

    `path` is a `model.json` or its folder, `inputs` the array for the model's only input, or arrays
    by name; the others are random, with `batch` and `timesteps` for their open axes. `layer_name`
    selects one layer; what is not replayed is named as not compared. Raises `InputError` for a file
    that is no such model or cannot be run, and `MissingPackageError` without Node or TensorFlow.js.
    """
    from rnn_parity.implementations.tfjs.files import read_model
    from rnn_parity.implementations.tfjs.model import recurrent_calls

    who, calls = recurrent_calls(read_model(path), inputs, batch, timesteps, seed)
    chosen = [one for one in calls if layer_name is None or layer_name in named_in(one)]
    if calls and not chosen:
        names = ", ".join(dict.fromkeys(one.layer_name for one in calls))
        raise InputError(f"--layer-name: expected one of {names}, received {layer_name!r}")
    checks = tuple(
        judged_call(one, subject)
        if one.merge is None
        else replace(judge_merge(one.merge, subject), notes=one.notes)
        for one in chosen
        for subject in [subject_of(one, "model", path, who)]
    )
    return Report(checks, notes=() if checks else (f"{path} has no recurrent layer",))


def named_in(call: LayerCall) -> tuple[str, ...]:
    """The names by which a person may mean a layer: its path, its parts, and what holds it."""
    parts = call.layer_name.split("/")
    return call.layer_name, *parts, *("/".join(parts[:i]) for i in range(1, len(parts)))
