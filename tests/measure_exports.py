"""Whole models against their exports: `python tests/measure_exports.py`.

Every architecture of `exports`, exported to ONNX, LiteRT and a SavedModel as it is, and to the
first two with each mistake in each of its layers in turn. Prints what is not as it should be, and
counts: a right export has every recurrent layer in parity and the model's outputs alike; in a wrong
one the layer with the mistake has diverged, no other one has, and the mistake is named.
"""

import os
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stdout

from exports import ARCHITECTURES, MISTAKES, built, exported, inputs_of, mistaken, recurrent

import rnn_parity as rp


def written(model, form, folder):
    """The path of the model's export in a folder."""
    if form == "saved_model":
        path = os.path.join(folder, form)
        with redirect_stdout(sys.stderr):
            model.export(path, format="tf_saved_model", verbose=False)
        return path
    path = os.path.join(folder, f"model.{form}")
    with open(path, "wb") as file:
        file.write(exported(model, form))
    return path


def right(name, form, folder):
    """What came of a right export."""
    model = built(name)
    report = rp.check(model, inputs_of(model), against=written(model, form, folder))
    good = bool(report) and all(one.effective_bits > 16 for one in report.model_outputs)
    return "parity" if good else f"WRONG {report.summary} {report.model_outputs}"


def wrong(name, form, folder, layer, mistake):
    """What came of an export with a mistake in one layer."""
    model, (other, fault) = built(name), mistaken(name, layer, mistake)
    report = rp.check(model, inputs_of(model), against=written(other, form, folder))
    lost = [one for one in report.checks if one.verdict != "parity"]
    names = {one.subject.layer_name for one in lost}
    if names != {layer} or {one.verdict for one in lost} != {"diverged"}:
        return f"WRONG {report.summary}"
    named = all(fault in [cause.fault for cause in one.causes] for one in lost)
    return "found and named" if fault and named else "found" if not fault else f"NOT NAMED {fault}"


def main():
    """Measure, and print."""
    counts = Counter()
    for name in sys.argv[1:] or ARCHITECTURES:
        for form in ("onnx", "tflite", "saved_model"):
            if (name, form) == ("stateful", "saved_model"):
                continue  # refused by name
            with tempfile.TemporaryDirectory() as folder:
                counts[form, "right", tell(right(name, form, folder), name, form)] += 1
        for layer in recurrent(built(name)):
            for mistake in MISTAKES:
                if mistake == "mask" and not name.startswith("masked"):
                    continue
                for form in ("onnx", "tflite"):
                    with tempfile.TemporaryDirectory() as folder:
                        came = wrong(name, form, folder, layer, mistake)
                        counts[form, mistake, tell(came, name, form, layer, mistake)] += 1
    for key, count in sorted(counts.items()):
        print(*key, count)


def tell(came, *where):
    """Print what is not as it should be; what it is called in the counts."""
    if came.startswith(("WRONG", "NOT")):
        print(*where, came, flush=True)
        return came.split()[0]
    return came


if __name__ == "__main__":
    main()
