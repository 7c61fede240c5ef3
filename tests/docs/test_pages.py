"""The README and the manual are true: what they show is what their commands and Python answer."""

import re
import shutil

import pytest
import tfjs_models
from pages import (
    ARCHITECTURE,
    COMMAND,
    EVERY_FILE,
    MANUAL,
    NOT_RUN,
    PACKAGE,
    PAGES,
    ROOMS,
    ROOT,
    answered,
    blocks,
    comparable,
    files_by_room,
    is_run,
    name_of,
)

from rnn_parity.diagnosis.faults import FAULTS
from rnn_parity.diagnosis.known_differences import KNOWN_DIFFERENCES
from rnn_parity.report.manual import GROUPS, LINK, topics

RUN = [page for page in PAGES if blocks(page, "console") or blocks(page, "python")]
WORDS = (
    *("observed", "replay", "deviation", "step-residual", "bound", "ratio", "effective-bits"),
    *("verdict", "fault", "sensitivity", "case", "resolved", "confirmed", "known-difference"),
    *("parity", "suspect", "diverged", "inconclusive"),
)
"""The words of a report that mean something of their own, and the verdicts."""
PATH = re.compile(r"`((?:rnn_parity|tests|fixtures|\.ci|\.github)/[\w./-]*)`")


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_what_a_page_shows_is_what_its_commands_and_its_python_answer(page, tmp_path):
    text = page.read_text()
    if "$ cc " in text and shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    if "--against tfjs" in shown(text, "console"):
        tfjs_models.found()
    real = answered(text, tmp_path)
    for language in ("console", "text"):
        assert comparable(shown(real, language)) == comparable(shown(text, language))


def shown(text, language):
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    targets = [target for _, target in LINK.findall(page.read_text())]
    for target in targets:
        path, _, anchor = target.partition("#")
        assert not anchor
        assert (page.parent / path).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_that_a_page_names_exists(page):
    for path in PATH.findall(page.read_text()):
        assert (ROOT / path).exists(), path


def test_every_word_fault_and_known_difference_has_a_page():
    found = topics()
    assert {*found["words"]} >= {*WORDS}
    assert {*found["faults"]} == {fault.id for fault in FAULTS}
    assert {*found["known-differences"]} >= {known.id for known in KNOWN_DIFFERENCES}


def test_the_page_of_a_fault_begins_as_the_catalogue_has_it():
    for fault in FAULTS:
        title = topics()["faults"][fault.id].partition("\n")[0]
        assert title == f"# {fault.id}: {fault.meaning}"


def test_every_page_has_a_topic_of_its_own_and_begins_with_it():
    names = [topic for pages in topics().values() for topic in pages]
    assert len({*names}) == len(names)
    for pages in topics().values():
        for topic, text in pages.items():
            assert re.match(rf"# {topic}: \S", text)
    assert {page.parent.relative_to(MANUAL).as_posix() for page in PAGES[1:]} == {
        group or "." for group in GROUPS
    }


def test_every_module_that_the_architecture_names_exists_where_it_says():
    named = set(re.findall(r"[\w/]+\.py\b", ARCHITECTURE.read_text()))
    assert "cli/options.py" in named
    for path in named:
        places = (ROOT / path, PACKAGE / path)
        assert any(place.exists() for place in places) or (
            "/" not in path and [*PACKAGE.rglob(path)]
        ), path


def test_the_architecture_names_every_room_and_every_file():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == {*ROOMS}
    table, _, files = ARCHITECTURE.read_text().partition(EVERY_FILE)
    assert files == files_by_room(), "python tests/docs/pages.py rnn_parity/docs/architecture.md"
    assert all(f"| `rnn_parity/{room}/`" in table for room in ROOMS)


def test_the_readme_leads_to_every_page_that_is_no_single_word_or_fault():
    linked = {target.rpartition("/")[2] for _, target in LINK.findall(PAGES[0].read_text())}
    assert linked >= {f"{topic}.md" for topic in topics()[""]}


def test_the_readme_is_read_in_minutes():
    assert len(PAGES[0].read_text().splitlines()) <= 250


def test_code_is_run_or_has_a_reason_not_to_be():
    languages = {"console", "python", "text", "c", "toml", "yaml"}
    for page in PAGES:
        text = page.read_text()
        assert {*re.findall(r"^```(\w+)$", text, re.MULTILINE)} <= languages
        assert text.count("```") == 2 * len(re.findall(r"^```\w+$", text, re.MULTILINE))
    commands = [
        c for page in PAGES for body in blocks(page, "console") for c in COMMAND.findall(body)
    ]
    skipped = [command for command, _ in commands if not is_run(command)]
    assert all(any(command.startswith(start) for command in skipped) for start in NOT_RUN)


def test_every_target_of_make_exists():
    named = {t for page in PAGES for t in re.findall(r"`make ([\w-]+)", page.read_text())}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"check", "test"} <= named <= targets


def test_the_makefile_cleans_what_git_ignores():
    clean = (ROOT / "Makefile").read_text().partition("\nclean:")[2]
    for ignored in (ROOT / ".gitignore").read_text().split():
        assert ignored.strip("/").removesuffix("*") in clean.replace("$(VENV)", ".venv"), ignored


def test_numbers_are_masked_and_words_are_not():
    assert comparable("at most 0.51 of 17 ") == comparable("at  most\n0.4 of 17")
    assert comparable("  3  1.2e-07  45  0.18  1  2") == comparable("  3  1.1e-07  7  <0.01  2  1")
    assert comparable("off by 1e-07") == comparable("off by -1.2e-07")
    assert comparable("sees 14 of 17") != comparable("sees 15 of 17")
    assert comparable("PARITY: 1.5") != comparable("DIVERGED: 1.5")
