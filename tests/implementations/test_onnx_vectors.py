"""The test vectors that ONNX publishes for its recurrent operators, each held to its replay."""

import numpy as np
import pytest

import rnn_parity as rp
from rnn_parity.implementations.onnx.operators import INPUTS, OUTPUTS, directions

collection = pytest.importorskip("onnx.backend.test.case.node")

NAMES = (
    *("simple_rnn_defaults", "simple_rnn_with_initial_bias", "rnn_seq_length"),
    *("simple_rnn_batchwise", "simple_rnn_reverse", "simple_rnn_bidirectional"),
    *("lstm_defaults", "lstm_with_initial_bias", "lstm_with_peepholes"),
    *("lstm_batchwise", "lstm_reverse", "lstm_bidirectional"),
    *("gru_defaults", "gru_with_initial_bias", "gru_seq_length"),
    *("gru_batchwise", "gru_reverse", "gru_bidirectional"),
)


@pytest.fixture(scope="module")
def vectors():
    """The published cases by name; generating them computes the outputs of all operators."""
    with np.errstate(all="ignore"):
        cases = collection.collect_testcases()
    of_recurrent = [case for case in cases if case.model.graph.node[0].op_type in INPUTS]
    return {case.name.removeprefix("test_"): case for case in of_recurrent}


def test_these_are_all(vectors):
    # Older releases of the package have fewer.
    assert set(vectors) <= set(NAMES)
    assert {"rnn_seq_length", "lstm_defaults", "gru_seq_length"} <= set(vectors)


def found_in(case):
    """The operator's attributes, and its arrays by the names that ONNX gives them."""
    from onnx import helper

    (node,), ((inputs, outputs),) = case.model.graph.node, case.data_sets
    value = helper.get_attribute_value
    attributes = {attribute.name: value(attribute) for attribute in node.attribute}
    attributes["direction"] = attributes.get("direction", b"forward").decode()
    arrays = {}
    for kinds, names, data in ((INPUTS, node.input, inputs), (OUTPUTS, node.output, outputs)):
        present = dict(zip(filter(None, names), data, strict=True))
        pairs = zip(kinds[node.op_type], names, strict=False)
        arrays |= {kind: present[name] for kind, name in pairs if name}
    return node.op_type, attributes, arrays


@pytest.mark.parametrize("name", NAMES)
def test_a_vector(vectors, name):
    if name not in vectors:
        pytest.skip("this release of onnx does not have it")
    op_type, attributes, arrays = found_in(vectors[name])
    found = directions(op_type, attributes, arrays)
    assert len(found) == (2 if name.endswith("bidirectional") else 1)
    for one in found:
        states = one.final_state if len(one.final_state) == len(one.weights.STATES) else None
        report = rp.compare(
            one.weights, one.inputs, one.outputs, states, one.mask, one.initial_state
        )
        assert report.verdict == "parity", report


@pytest.mark.parametrize("name", ["rnn_seq_length", "gru_seq_length"])
def test_a_vector_of_other_weights(vectors, name):
    op_type, attributes, arrays = found_in(vectors[name])
    arrays["W"] = np.roll(arrays["W"], 1, axis=1)
    (one,) = directions(op_type, attributes, arrays)
    assert rp.compare(one.weights, one.inputs, one.outputs).verdict == "diverged"
