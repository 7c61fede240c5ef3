"""Known mistakes of other backends, recognised by numbers worked out by hand."""

import numpy as np

from rnn_parity.sweep.findings import known_as
from rnn_parity.sweep.numbers import CallNumbers, Numbers
from rnn_parity.sweep.space import Configuration
from rnn_parity.verdict.sweep_results import Outcome

DEFAULT = Configuration.default("simple_rnn")
DIVERGED = Outcome("diverged", "", max_ratio=1e6, effective_bits=4.0)
UNROLLED = {"unroll": True, "zero_output_for_mask": True, "mask": "right"}


def of_outputs(outputs, expected, mask, state=None):
    """One linear unit that saw ones in one sample."""
    column = [np.array(values, float).reshape(1, -1, 1) for values in (outputs, expected)]
    states = () if state is None else (np.full((1, 1), state),)
    call = CallNumbers(
        inputs=np.ones((1, len(mask), 1)),
        mask=np.array([mask]),
        initial_state=states,
        outputs=column[0],
        last_output=None,
        final_state=(),
        expected=column[1],
        expected_state=(),
    )
    one = np.ones((1, 1))
    return Numbers(one, one, None, (call,))


def test_the_numbers_of_the_table_are_recognised_and_others_are_not():
    def of(changes, *numbers):
        found = known_as(DEFAULT.but(changes), DIVERGED, of_outputs(*numbers), "keras:numpy")
        return found and found.id

    zeroed = "unrolled-zeros-repeat-the-output"
    assert of(UNROLLED, [1, 1], [1, 0], [True, False]) == zeroed
    assert of(UNROLLED, [1, 2], [1, 0], [True, False]) is None  # masked steps computed
    assert of(UNROLLED, [1, 1, 0], [1, 0, 0], [True, False, False]) is None  # zeroed in part
    assert of(UNROLLED, [1, 0], [1, 0], [True, False]) is None  # right
    shown = "initial-state-in-place-of-zeros"
    state = {"mask": "left", "initial_state": "random"}
    assert of(state, [3, 4], [0, 4], [False, True], 3) == shown
    assert of(state, [2, 4], [0, 4], [False, True], 3) is None  # something else
    assert of(state, [3, 3, 4], [0, 0, 4], [False, False, True], 3) == shown
    assert of(state, [3, 0, 4], [0, 0, 4], [False, False, True], 3) is None  # not each
    assert of(state, [0, 4], [0, 4], [False, True], 0) is None  # the state is zeros
