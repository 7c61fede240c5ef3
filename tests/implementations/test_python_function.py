"""Python functions as implementations: what they are given, what they may return, how they fail."""

import sys

import numpy as np
import pytest

from rnn_parity import GRU, LSTM, SimpleRNN
from rnn_parity.errors import InputError, SourceFailedError
from rnn_parity.implementations.python_function import implementation, of_callable
from rnn_parity.implementations.request import Request

B, T, F, H = 2, 3, 1, 4
OUTPUTS, STATE = np.ones((B, T, H)), np.ones((B, H))


def request(kind=SimpleRNN, **given):
    width = H * len(kind.GATES)
    layer = kind(np.zeros((F, width)), np.zeros((H, width)))
    return Request(layer, np.arange(6.0).reshape(B, T, F), **given)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, and nothing of it is remembered."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_of_the_current_folder(folder):
    (folder / "helper_of_mine.py").write_text("SCALE = 2\n")
    (folder / "mine.py").write_text(
        "class Net:\n"
        "    @staticmethod\n"
        "    def run(inputs):\n"
        "        import helper_of_mine\n"
        "        return helper_of_mine.SCALE * inputs\n"
    )
    path = list(sys.path)
    answer = implementation("mine:Net.run")(request())
    assert answer.outputs.ravel().tolist() == [0, 2, 4, 6, 8, 10]
    assert sys.path == path


@pytest.mark.parametrize(
    ("content", "source", "words"),
    [
        (None, "mine:f", "mine cannot be imported: ModuleNotFoundError: No module named 'mine'"),
        ("import nothing_of_that_name", "mine:f", "No module named 'nothing_of_that_name'"),
        ("1 +", "mine:f", "mine cannot be imported: SyntaxError: invalid syntax"),
        ("exit(3)", "mine:f", "mine cannot be imported: SystemExit: 3"),
        ("def g(x): pass\nf = 3", "mine:f", "expected a function of mine: g, received 'f'"),
        ("", "mine:f.g", "expected a function of mine: none, received 'f.g'"),
        ("def port(x): pass", "mine:prot", "received 'prot'; did you mean port? expected a"),
        ("", "mien:f", "No module named 'mien'; did you mean mine:f?"),
        ("def f(x): raise ValueError('a\\nb')", "mine:f", "it failed: ValueError: a b"),
        ("def f(x): assert False", "mine:f", "it failed: AssertionError"),
        ("def f(x): exit('no')", "mine:f", "it failed: SystemExit: no"),
        ("def f(): pass", "mine:f", "it failed: TypeError: f() takes 0 positional arguments"),
        ("def f(x): pass", "mine:f", "what it returned: expected an array, received None"),
        (
            "def f(x): return 'words'",
            "mine:f",
            "what it returned: expected real numbers",
        ),
        ("def f(x): return [[1, 2], [3]]", "mine:f", "received rows of unequal length"),
        ("def f(x): return ()", "mine:f", "it failed: ValueError: not enough values to unpack"),
    ],
)
def test_failures_are_one_line(folder, content, source, words):
    if content is not None:
        (folder / "mine.py").write_text(content)
    with pytest.raises(InputError) as error:
        implementation(source)(request())
    message = str(error.value)
    assert message.startswith(f"against {source!r}: ")
    assert words in message
    assert "\n" not in message


def refuses(x):
    raise NotImplementedError("no masks")


def crashes(x):
    return [][3]


def nothing(x):
    return None


@pytest.mark.parametrize(
    ("function", "is_crash", "words"),
    [
        (refuses, False, "against 'f': it refused: NotImplementedError: no masks"),
        (crashes, True, "against 'f': it failed: IndexError: list index out of range (test_"),
        (nothing, True, "against 'f': it failed: what it returned: expected an array, re"),
        (lambda: None, True, "against 'f': it failed: TypeError: "),
    ],
)
def test_only_what_says_that_it_is_not_implemented_is_a_refusal(function, is_crash, words):
    with pytest.raises(InputError) as error:
        of_callable(function, "f")(request())
    assert isinstance(error.value, SourceFailedError) is is_crash
    assert str(error.value).startswith(words)
    place = f"(test_python_function.py, line {crashes.__code__.co_firstlineno + 1})"
    assert (place in str(error.value)) is (function is crashes)


@pytest.mark.parametrize(
    ("kind", "returned", "states"),
    [
        (SimpleRNN, OUTPUTS, []),
        (SimpleRNN, OUTPUTS.tolist(), []),
        (SimpleRNN, (OUTPUTS,), []),
        (SimpleRNN, (OUTPUTS, STATE), [STATE]),
        (GRU, (OUTPUTS, STATE.tolist()), [STATE]),
        (LSTM, (OUTPUTS, STATE, 2 * STATE), [STATE, 2 * STATE]),
        (LSTM, (OUTPUTS, (STATE, 2 * STATE)), [STATE, 2 * STATE]),
        (LSTM, (OUTPUTS, [STATE, 2 * STATE]), [STATE, 2 * STATE]),
        (LSTM, (OUTPUTS, STATE), [STATE]),
    ],
)
def test_what_a_function_may_return(kind, returned, states):
    answer = of_callable(lambda x: returned, "f")(request(kind))
    assert answer.outputs.tolist() == OUTPUTS.tolist()
    assert [s.tolist() for s in answer.final_state] == [s.tolist() for s in states]
    assert answer.notes == ()


def test_the_last_output_alone_is_noted():
    (note,) = of_callable(lambda x: STATE, "f")(request()).notes
    assert note.startswith("only the last output is known")


def test_what_a_function_changes_stays_as_it_was():
    asked = request()

    def f(x):
        x[...] = 0
        return OUTPUTS

    of_callable(f, "f")(asked)
    assert asked.inputs.ravel().tolist() == [0, 1, 2, 3, 4, 5]


MASK = np.array([[True, False, True]] * B)


def test_a_function_gets_the_mask_and_the_state_that_it_names():
    found = {}

    def f(inputs, initial_state=None, mask=None):
        found.update(initial_state=initial_state, mask=mask)
        return OUTPUTS

    of_callable(f, "f")(request(mask=MASK, initial_state=(STATE,)))
    assert found["mask"] is MASK
    assert found["initial_state"] is STATE
    of_callable(f, "f")(request(LSTM, initial_state=(STATE, STATE)))
    assert len(found["initial_state"]) == 2
    assert found["mask"] is None


def test_what_is_not_handed_over_is_noted():
    asked = request(mask=MASK, initial_state=(STATE,))
    notes = (
        "the mask is not handed over: its signature has no mask",
        "the initial state is not handed over: its signature has no initial_state",
    )
    assert of_callable(lambda x: OUTPUTS, "f")(asked).notes == notes
    assert of_callable(np.negative, "f")(asked).notes == notes  # in C, with no such names
