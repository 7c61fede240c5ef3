"""The exceptions of rnn-parity, and how text of others may stand in a message or a report.

Each message is one line: expected, received, what to do. A name in a file can hold anything: codes
that move a terminal's cursor, signs that turn the direction of writing, a line that a workflow
runner takes for a command. Nothing of it is left out: what is not shown as itself is shown escaped,
as Python writes it. The standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, delete, C1
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # Unicode's
    "\ud800-\udfff\U000e0000-\U000e0fff]"  # half characters, invisible tags
)
"""What acts instead of being seen. The joiners U+200C and U+200D stay: scripts need them."""
AT_LINE_START = re.compile(r"(?m)^([^\S\n]*):(?=:)")
"""A command of GitHub's runner, which it looks for behind white space, too."""
ANYWHERE = re.compile(r"#(?=#(?:vso|teamcity)?\[)")
"""A command of Azure's runner, TeamCity's, and GitHub's of old, wherever it stands in a line."""
LONGEST_WORD = 100
"""How much of a mistyped word is compared with those that are known; the time grows with both."""
LONGEST_SHOWN = 40
"""How much of a mistyped word is shown again. Chosen: half a line."""
LONGEST_MESSAGE = 300
"""How many characters of a foreign exception are shown: chosen, three lines of a terminal."""
NOISE = re.compile(
    r"\x1b\[[0-9;]*m"  # Keras prints its messages in bold
    r"|in user code:.*\n\s*\w+(Error|Exception): "  # autograph's excerpt of the traceback
    r"|Exception encountered when calling [^\n]*\.\s*\n"
    r"|(Arguments received by|Call arguments received by) .*"
    r"|\{\{.*?\}\} ?|\[_XlaMustCompile[^\]]*\]|\[Op:\w+\].*"
    r"|(Stack trace for op definition|The op is created at):.*",
    re.DOTALL,
)
"""What the exceptions of TensorFlow and Keras say beside what went wrong."""


class RnnParityError(Exception):
    """Base of every error that this package raises on purpose; the command line exits 2."""

    def __str__(self) -> str:
        """The message on one line, without the control characters of a file's name or words."""
        return shown(re.sub(r"\s*\n\s*", " ", super().__str__()))


class InputError(RnnParityError, ValueError):
    """Unusable input: a wrong shape, a broken file, an unknown option."""


class UnsupportedError(InputError):
    """Something real that is not replayed (yet), refused by name."""


class SourceFailedError(InputError):
    """Another implementation crashed, or gave back what is no answer; the command line exits 1.

    A refusal says what an implementation does not do, and proves nothing about the rest. A crash is
    a mistake in it: it never counts as passed.
    """


class Terminated(SystemExit):  # it is no error, and no `except Exception` takes it
    """A signal has asked this process to end; the exit code is that of a shell."""


class MissingPackageError(RnnParityError, ImportError):
    """A package that this operation needs is not installed; the message names what to install."""


def shown(text: str, keep: str = "") -> str:
    """`text` with its control characters escaped, but for `keep`, and no runner's command in it.

    Commands that count at the start of a line alone are up to `without_commands`.
    """

    def escape(found: re.Match[str]) -> str:
        sign = found[0]
        return sign if sign in keep else sign.encode("unicode_escape").decode()

    return ANYWHERE.sub(r"\\x23", CONTROL.sub(escape, text))


def without_commands(text: str) -> str:
    """Lines made of shown text, none of which a workflow runner takes for a command any more."""
    return AT_LINE_START.sub(r"\1\\x3a", text)


def shown_lines(text: str) -> str:
    """A message whose line breaks are its own, with everything else escaped as in `shown`."""
    return without_commands(shown(text, keep="\n"))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that a mistyped one is nearest to, as the end of a message; empty for none.

    A word that is known is not mistyped.
    """
    from difflib import get_close_matches

    lower: dict[str, str] = {}
    for one in known:  # of two spellings, the first
        lower.setdefault(one.lower(), one)
    if word in lower.values():
        return ""
    near = get_close_matches(word.lower()[:LONGEST_WORD], lower, 1)
    return f"; did you mean {lower[near[0]]}?" if near else ""


def misspelt(word: str, known: Iterable[str], expected: str) -> str:
    """What is said of a word that is none of those `known`: `expected`, and received.

    Where one of them is meant, that comes first, before a list that may be long.
    """
    shown_again = word if len(word) <= LONGEST_SHOWN else word[:LONGEST_SHOWN] + "..."
    received = f"received {shown_again!r}"
    near = nearest(word, known)
    return f"{received}{near} {expected}" if near else f"{expected}, {received}"


def one_line(error: BaseException) -> str:
    """The message of an exception on one line, without markup and tracebacks."""
    text = " ".join(NOISE.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
