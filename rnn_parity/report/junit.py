"""JUnit XML, as GitLab and Jenkins show it: a test case for each check, or finding of a sweep.

What was found to be wrong is a failure; what could not be checked, or proves nothing, is an error.
GitLab shows of several test cases with one name the first alone: they are numbered. It shows the
text of a failure and not its message, so the text begins with the verdict. Attributes and elements
are those that Jenkins's schema of JUnit's XML knows.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnn_parity.errors import shown, without_commands
from rnn_parity.report.document import plain
from rnn_parity.report.page import TOOL, Page, Renderable, Section, Style
from rnn_parity.report.text import table_lines, wrap

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no document of XML 1.0 may hold, not even escaped."""


@dataclass(frozen=True)
class Outcome:
    """One test case: its name, the exit code that it stands for, and what is said of it."""

    name: str
    code: int
    verdict: str
    sentence: str
    details: str = ""


def render(report: Renderable, style: Style) -> str:
    """The document, with the versions as properties of its only suite."""
    import junitparser

    document = plain(report.document())
    page, kind = report.page(style), "sweep" if "sweep" in document else "checks"
    suite, seen = junitparser.TestSuite(TOOL), Counter[str]()
    for name, value in (report.tool.values(), *properties(document)):
        suite.add_property(legal(name), legal(value))
    for one in outcomes(page):
        seen[one.name] += 1
        name = one.name if seen[one.name] == 1 else f"{one.name} ({seen[one.name]})"
        case = junitparser.TestCase(legal(shown(name)), f"{TOOL}.{kind}")
        if one.code:
            result = junitparser.Failure if one.code == 1 else junitparser.Error
            case.result = [result(legal(shown(one.sentence)), one.verdict)]
            case.result[0].text = legal(f"{one.sentence}\n{one.details}\n")
        else:
            case.system_out = legal(f"{one.sentence}\n{one.details}\n")
        suite.add_testcase(case)
    return written(suite)


def written(suite: Any) -> str:
    """The suite as text in ASCII, which every encoding of stdout and every reader has."""
    import junitparser

    whole, file = junitparser.JUnitXml(TOOL), io.BytesIO()
    suite.update_statistics()
    whole.add_testsuite(suite)
    whole.write(file, pretty=True)
    text = file.getvalue().decode("utf-8").rstrip()
    return without_commands(text.encode("ascii", "xmlcharrefreplace").decode())


def properties(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The versions, the verdict and the exit code, by name."""
    result = {name: document.get(name) for name in ("verdict", "exit_code")}
    for name, value in {**document.get("environment", {}), **result}.items():
        if value is not None:
            yield name, str(value)


def outcomes(page: Page) -> Iterator[Outcome]:
    """The test cases: errors, what got worse, each check or finding, and the whole."""
    for sentence, (name, code) in zip(page.errors, page.unchecked, strict=True):
        yield Outcome(name, code, "failed" if code == 1 else "error", sentence)
    for word, sentence in page.unseen:
        yield Outcome(f"baseline: {sentence.partition(': ')[0]}", 1, word, sentence)
    failed = bool(page.errors or page.unseen)
    for one in page.sections:
        failed |= bool(one.code)
        yield outcome(one)
    if page.level or (page.code and not failed):
        yield Outcome("all", page.code if not failed else 0, page.verdict, page.conclusion)


def outcome(one: Section) -> Outcome:
    """A check, or a finding, which has no sentence beside its heading."""
    name = one.name.removeprefix(f"{TOOL}: ")
    lines = [f"{heading}: {text}" for heading, text in one.findings]
    lines += [f"note: {note}" for note in one.notes] + ([one.reason] if one.reason else [])
    if one.code:
        lines += ["", *map(wrap, (one.heading, *one.facts)), *table_lines(one.table)]
    if not one.sentence:
        name = one.heading
    return Outcome(name, one.code, one.verdict, one.sentence or one.heading, "\n".join(lines))


def legal(text: str) -> str:
    """`text` without what XML cannot hold; its line breaks are its own."""
    return NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", shown(text, keep="\n"))
