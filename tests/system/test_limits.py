"""How much is read at most: said with the size, the limit and how to raise it."""

import pytest

from rnn_parity.errors import InputError
from rnn_parity.system import limits


@pytest.fixture(autouse=True)
def default(monkeypatch):
    monkeypatch.delenv(limits.VARIABLE, raising=False)


def test_the_limit_by_default():
    assert limits.most_bytes() == 8 * 1024**3
    assert limits.most_of_file() == 2 * 1024**3


def test_another_limit(monkeypatch):
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", "0.5")
    assert limits.most_bytes() == 512 * 1024**2
    assert limits.most_of_file() == 128 * 1024**2


@pytest.mark.parametrize("value", ["", "0", "-1", "much", "nan", "inf", "1e-12"])
def test_no_limit(monkeypatch, value):
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", value)
    with pytest.raises(InputError, match=f"a number of GiB above 0, received {value!r}"):
        limits.most_bytes()


def test_what_is_said_of_too_large_a_file(monkeypatch):
    limits.check_content(2 * 1024**3, "x")
    with pytest.raises(InputError) as caught:
        limits.check_content(3 * 1024**3, "case 'x'", "arrays")
    assert str(caught.value) == (
        "case 'x': expected at most 2 GiB, received arrays of 3 GiB; name a smaller one, or set "
        "RNN_PARITY_MOST_GIB=12"
    )
    monkeypatch.setenv("RNN_PARITY_MOST_GIB", "12")
    limits.check_content(3 * 1024**3, "case 'x'")


def test_what_is_said_of_too_many_numbers():
    limits.check_numbers(1024**3, "x", "y")
    with pytest.raises(InputError) as caught:
        limits.check_numbers(5 * 1024**3, "sizes", "make --batch smaller")
    assert str(caught.value) == (
        "sizes: expected inputs, outputs and weights of at most 8 GiB in float64, received about "
        "40 GiB; make --batch smaller, or set RNN_PARITY_MOST_GIB=40"
    )
