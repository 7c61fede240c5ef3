"""What is said of an array of another shape."""

import pytest

from rnn_parity.results import Shape
from rnn_parity.shapes import misfit

SHAPE = Shape(batch=4, timesteps=9, features=3, units=5)


@pytest.mark.parametrize(
    ("received", "expected", "said"),
    [
        (
            (9, 4, 5),
            (4, 9, 5),
            "axis 0 (9) fits timesteps; axis 1 (4) fits batch; axis 2 (5) fits units; "
            "transpose(1, 0, 2) would help",
        ),
        (
            (4, 9, 3),
            (4, 9, 5),
            "axis 0 (4) fits batch; axis 1 (9) fits timesteps; axis 2 (3) fits features",
        ),
        (
            (36, 5),
            (4, 9, 5),
            "axis 0 (36) fits nothing; axis 1 (5) fits units; "
            "reshape(4, 9, 5) would help, if the order is batch, timesteps, units",
        ),
        (
            (5, 4),
            (4, 5),
            "axis 0 (5) fits units; axis 1 (4) fits batch; transpose(1, 0) would help",
        ),
        ((), (4, 5), ""),
    ],
)
def test_misfit(received, expected, said):
    start = f"outputs: expected shape {expected}, received {received}"
    assert misfit("outputs", received, expected, SHAPE) == "; ".join(filter(None, (start, said)))


def test_an_axis_may_fit_several_sizes():
    shape = Shape(batch=2, timesteps=2, features=2, units=3)
    assert "axis 0 (2) fits batch or timesteps or features" in misfit("y", (2,), (2, 3), shape)
