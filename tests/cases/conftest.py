"""A recorded case in a file, for every test of the format."""

import pytest
from hand_case import make

from rnn_parity.cases.case import write_case


@pytest.fixture
def path(tmp_path):
    name = tmp_path / "case.npz"
    write_case(name, make())
    return name
