"""Which options of the command line go together. The standard library alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from rnn_parity.errors import InputError
from rnn_parity.implementations.sources import recognised

# Options that would change nothing are refused; those in none of these concern every target.
OF_GENERATED = (
    "layer",
    "units",
    "features",
    "arguments",
    "dtype",
    "mask",
    "initial_state",
    "calls",
)
OF_MODEL = ("layer_name", "unsafe")
NOT_OF_ONNX = ("unsafe", "mode", "mask_file", "no_keras", "against", "inputs_as", "training")
RATES = ("dropout", "recurrent_dropout")
OF_INPUT = ("batch", "timesteps", "features")
OF_DATA = ("batch", "timesteps", "seed", "input", "mask_file")
FLAGS = {"arguments": "--arg", "quiet": "-q"}


def is_case(given: Mapping[str, Any]) -> bool:
    """Whether the target is a case or a folder of cases, and is to be checked."""
    target = given["target"]
    if target is None or given["command"] == "record":
        return False
    saved_model = os.path.join(target, "saved_model.pb")
    is_folder = os.path.isdir(target) and not os.path.exists(saved_model)
    return is_folder or bool(target.lower().endswith(".npz"))


def is_onnx(given: Mapping[str, Any]) -> bool:
    """Whether the target is an ONNX model, and is to be checked."""
    target = given["target"] or ""
    return given["command"] == "check" and target.lower().endswith(".onnx")


def refuse_combinations(given: Mapping[str, Any]) -> None:
    """Raise `InputError` for an option that would be ignored."""
    generated = given["target"] is None
    if "against" in given:
        refuse(given, ("mode",), "Keras's own outputs are not checked with --against; leave it out")
        for source in given["against"]:
            recognised(source)
    if is_case(given):
        of_case = (*OF_GENERATED, *OF_MODEL, *OF_DATA, "training")
        refuse(given, of_case, "settled by the case; leave it out")
        if "no_keras" in given:
            refuse(given, ("mode",), "nothing runs with --no-keras; leave out one of the two")
        return refuse_output(given)
    if given["command"] == "record" and not given["output"].endswith(".npz"):
        raise InputError(f"-o {given['output']!r}: expected a name that ends in .npz; name a case")
    if not given.get("inputs_as", ".npy").endswith((".npy", ".csv")):
        named = given["inputs_as"]
        raise InputError(f"--inputs-as {named!r}: expected a name that ends in .npy or .csv")
    if is_onnx(given):
        refuse(given, NOT_OF_ONNX, "not for an ONNX model, which runs by itself; leave it out")
    refuse(given, ("no_keras",), "only for a case or a folder of cases; leave it out")
    if generated:
        refuse(given, OF_MODEL, "only for a model; add the TARGET or leave this out")
    else:
        refuse(given, OF_GENERATED, "only for a generated layer; leave out this or the TARGET")
    refuse_training(given)
    if "input" in given:
        settled = OF_INPUT if generated else (*OF_INPUT, "seed")
        refuse(given, settled, "settled by --input; leave out one of the two")
    refuse_output(given)


def refuse_training(given: Mapping[str, Any]) -> None:
    """Raise `InputError` where `--training` would change nothing, or nobody could follow it."""
    arguments = dict(given.get("arguments", ()))
    if given["target"] is None and not any(arguments.get(rate) for rate in RATES):
        refuse(given, ("training",), "there is no dropout; add --arg dropout=RATE, or leave it out")
    if given.get("mode") == "predict":
        refuse(given, ("training",), "predict never trains; choose another --mode, or leave it out")
    if "against" in given:
        refuse(
            given,
            ("training",),
            "no other implementation gets the dropout masks that Keras draws; leave out one of "
            "--training and --against",
        )


def refuse_output(given: Mapping[str, Any]) -> None:
    """Raise `InputError` for an option on the answer that would be ignored."""
    if given["format"] in ("json", "github"):
        refuse(given, ("quiet",), f"not possible with --format {given['format']}; leave it out")
    if given["format"] == "github" or given["quiet"]:
        refuse(given, ("every",), "there is no table to show; leave it out")


def refuse(given: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Raise `InputError` when one of the options `names` was given."""
    for name in names:
        if given.get(name, False) is not False:
            raise InputError(f"{FLAGS.get(name, '--' + name.replace('_', '-'))}: {why}")


def refuse_target(target: str) -> None:
    """Raise `InputError` for no model; what is wrong with one is said on loading."""
    models = "expected a model (.keras, .h5, .hdf5)"
    if target.lower().endswith(".npz"):
        raise InputError(f"{target!r}: {models}, received a case (.npz)")
    if os.path.isdir(target) and not os.path.exists(os.path.join(target, "saved_model.pb")):
        raise InputError(f"{target!r}: {models}, received a folder; name one model file in it")
