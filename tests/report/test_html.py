"""The page: all that other forms show, failures first, escaped, small, and nothing from outside."""

import math
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import cycle, islice

import numpy as np
import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT, row
from test_pictures import HOSTILE, long_check
from test_sweeps import WHOLE

from rnn_parity.diagnosis.faults import FAULTS
from rnn_parity.errors import MissingPackageError
from rnn_parity.report import html
from rnn_parity.report.html import MOST_BYTES, as_html
from rnn_parity.report.manual import Catalogue, topics
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import (
    BlindSpot,
    HeatMap,
    ImpliedWeight,
    ModelOutput,
    Sensitivity,
    Subject,
    TargetError,
)

pytest.importorskip("jinja2")
pytest.importorskip("markdown_it")

VOID = {"meta", "link", "br", "img", "input", "hr"}
CLOSES_ITSELF = {"li", "td", "th", "tr", "dt", "dd", "thead", "tbody", "p"}
"""Elements whose end HTML lets one leave out."""
ALL = (PARITY, DIVERGED, SUSPECT, INCONCLUSIVE, NOT_COMPARED)


class Page(HTMLParser):
    """A page as a tree's events: every element is closed by its own end, or need not be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert [name for name in self.open if name not in CLOSES_ITSELF] == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open[-1] != tag:
            assert self.open.pop() in CLOSES_ITSELF, tag
        self.open.pop()

    def handle_data(self, data):
        if not {"style", "script"} & {*self.open[-1:]}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def all(self, tag, class_=""):
        return [a for name, a in self.elements if name == tag and class_ in a.get("class", "")]

    def order(self):
        """The numbers of the checks, as they stand in the page."""
        ids = [a["id"] for a in self.all("details", "check")]
        return [int(one.removeprefix("check-")) for one in ids]


def page_of(*checks, **options):
    return Page(Report(checks, **options).render("html"))


def bytes_of(report):
    return len(report.render("html").encode())


# What is shown.


def test_failures_come_first_and_keep_their_numbers():
    page = page_of(*ALL)
    assert page.order() == [2, 3, 4, 5, 1]
    rows = [a["href"] for a in page.all("a") if a["href"].startswith("#check-")]
    assert rows == [f"#check-{i}" for i in page.order()]
    opened = [a["id"] for a in page.all("details", "check") if "open" in a]
    assert opened == ["check-2", "check-3", "check-4", "check-5"]


def test_all_that_other_forms_say_is_there():
    spots = Sensitivity(("bias-dropped",), (BlindSpot("mask-ignored", "no timestep is masked"),))
    outputs = (ModelOutput("dense", "out", 0.5, 3.0, True, "lstm", "a.keras", "a.onnx"),)
    report = Report(
        (replace(PARITY, sensitivity=spots), DIVERGED, INCONCLUSIVE),
        notes=("a note on all",),
        worse=("encoder was in parity",),
        errors=(TargetError("x.keras", "x.keras: it is damaged"),),
        model_outputs=outputs,
        strict=True,
    )
    page = Page(report.render("html"))
    of_text = report.page()
    worse = [": ".join(one) for one in of_text.worse]
    for text in (*of_text.header, *of_text.errors, *worse, of_text.title):
        assert text in page.text
    for section in of_text.sections:
        assert section.heading in page.text
        for heading, text in section.findings:
            assert heading in ("sees", "more") or text in page.text
        for note in section.notes:
            assert f"note: {note}" in page.text
        for cells in section.table.rows:
            assert " ".join(cells[:1]) in page.text
    assert "max step residual max ratio" in page.text
    assert "\\n" not in page.text
    assert (
        "Would have shown 1 of 2 possible faults, and was blind to: mask-ignored: no" in page.text
    )
    assert (
        "nothing is proven about mask-ignored (with --strict)"
        in page_of(replace(PARITY, sensitivity=spots), strict=True).text
    )


def test_targets_that_could_not_be_checked_are_counted_and_code_is_shown_as_code():
    error = TargetError("x.npz", "case 'x.npz': expected what `rnn-parity record` wrote, not <b>`")
    page = page_of(PARITY, errors=(error,))
    assert "✕ 1 could not be checked ✓ 1 parity" in page.text
    assert "expected what rnn-parity record wrote, not <b>`" in page.text
    assert len(page.all("code")) == 1


def test_a_source_that_failed_stands_in_the_list_of_all_checks():
    errors = (TargetError("x.keras", "crashed", 1, "port:f"), TargetError("y.npz", "damaged"))
    page = page_of(PARITY, DIVERGED, errors=errors)
    assert "✕ failedagainst port:f in x.keras" in page.text
    rows = [a["href"] for a in page.all("a") if a["href"].startswith("#check-")]
    assert rows == ["#check-2", "#check-1"], "there is no section to go to"


def test_a_recorded_case_is_one_row_and_one_section_where_nothing_moved():
    subject = Subject("case", "a.npz", "GRU", "a", mode="graph")
    then = replace(PARITY, subject=replace(subject, against="recorded outputs"))
    now = replace(PARITY, subject=subject)
    page = Page(Report((then, now, replace(DIVERGED, subject=subject))).render("html"))
    assert "# verdict layer file mode recorded ratio" in page.text
    assert page.text.count("parity 25.8") == 2  # in the rows of now and of what diverged
    moved = replace(now, summary="moved")
    assert len(Page(Report((then, now)).render("html")).all("details", "check")) == 1
    assert len(Page(Report((then, moved)).render("html")).all("details", "check")) == 2


def test_the_cause_stands_before_the_numbers_and_is_explained():
    page = page_of(DIVERGED)
    at = [page.text.index(word) for word in ("bias-dropped: the bias was not", "observed 0.25")]
    assert at == sorted(at)
    ids = {a["id"] for _, a in page.elements if "id" in a}
    links = {a["href"].removeprefix("#") for a in page.all("a")}
    assert {"explain-bias-dropped", "explain-kernel-transposed"} <= links <= ids
    assert "What to do." in page.text


@pytest.mark.parametrize("group", topics())
def test_every_page_of_the_manual_can_be_explained(group):
    for topic, text in topics()[group].items():
        title, body = as_html(text)
        assert title.startswith(f"{topic}: ")
        page = Page(body)
        assert not page.all("a")
        assert not page.all("script")


def test_implied_weights_are_drawn():
    weights = (ImpliedWeight("kernel", (0, 0), 0.5, 0.75, 86.0),)
    page = page_of(replace(SUSPECT, shape=PARITY.shape, implied_weights=weights))
    assert [a["aria-label"] for a in page.all("svg")] == ["kernel: the entries that differ"]


def test_parity_has_a_thumbnail_beside_others_and_the_whole_picture_alone():
    check = replace(PARITY, heat_map=HeatMap.empty(2, 4))
    assert [a["class"] for a in page_of(check, check).all("svg")] == ["rp thumbnail"] * 2
    assert [a["class"] for a in page_of(check).all("svg")] == ["rp"]
    assert [a["class"] for a in page_of(check, long_check()).all("svg")] == ["rp", "rp thumbnail"]


def test_one_bad_number_among_a_hundred_million_is_in_the_page():
    text = Report((PARITY, long_check())).render("html")
    assert re.search(r'<path class="h[5-9]"', text)
    assert "first: timestep 123456, sample 0, unit 300" in text


@pytest.mark.parametrize("kind", ["sweep", "faults", "nothing"])
def test_other_reports_are_pages_as_well(kind):
    report = {"sweep": WHOLE, "faults": Catalogue(FAULTS), "nothing": Report(())}[kind]
    page = Page(report.render("html"))
    expected = {"sweep": "repro/1.py", "faults": "mask-ignored", "nothing": "Inconclusive"}[kind]
    assert expected.lower() in page.text.lower()
    assert len(page.all("title")) == 1


def test_a_quiet_page_has_its_sentences_alone():
    page = Page(Report(ALL, worse=("it got worse",)).render("html", quiet=True))
    assert "1 diverged: encoder" in page.text
    assert "it got worse" in page.text
    assert not page.all("table")
    assert not page.all("details")


def test_all_timesteps_are_shown_where_they_are_asked_for():
    check = replace(DIVERGED, timesteps=tuple(row(t) for t in range(90)))
    assert "timesteps left out" in page_of(check).text
    page = Page(Report((check,)).render("html", every=True))
    assert "timesteps left out" not in page.text
    assert len(page.all("tr")) == 1 + 90 + 1


def test_no_timestep_that_is_asked_for_is_left_out_for_room(monkeypatch):
    monkeypatch.setattr(html, "MOST_BYTES", 10_000)
    report = Report((replace(DIVERGED, timesteps=tuple(row(t) for t in range(90))),))
    assert "below 2 MiB, 1 of 1 checks" in Page(report.render("html")).text
    page = Page(report.render("html", every=True))
    assert len(page.all("tr")) == 1 + 90 + 1
    assert "below 2 MiB" not in page.text


# The list.


def keys(page):
    """What each row of the list is sorted by, column by column."""
    found, count = [a["data-v"] for a in page.all("td") if "data-v" in a], len(page.all("button"))
    return [found[i : i + count] for i in range(0, len(found), count)]


def test_numbers_are_sorted_as_numbers():
    page = page_of(*ALL)
    ratios = [float(row[5]) for row in keys(page)]
    assert ratios == [12345.0, 0.1, math.inf, -1.0, 0.296]
    assert len(page.all("button")) == 8
    # Without files there is no column of files.
    assert len(page_of(PARITY, PARITY).all("button")) == 7


def test_files_are_told_without_the_folders_that_all_share():
    def at(path):
        return replace(PARITY, subject=replace(PARITY.subject, path=path))

    page = page_of(at("/a/b/one.npz"), at("/a/b/c/two.npz"), at(None))
    assert [row[3] for row in keys(page)] == ["one.npz", "c/two.npz", ""]


# Escaping, and nothing from outside.


def hostile():
    subject = replace(DIVERGED.subject, layer_name=HOSTILE, path=HOSTILE, against=HOSTILE)
    subject = replace(subject, layer_class=HOSTILE)
    check = replace(DIVERGED, subject=subject, summary=HOSTILE, notes=(HOSTILE,))
    causes = tuple(replace(c, explanation=HOSTILE, remedy=HOSTILE) for c in check.causes)
    weights = (ImpliedWeight(HOSTILE, (0, 1), 0.5, 0.25, 9.0),)
    check = replace(check, causes=causes, implied_weights=weights, heat_map=HeatMap.empty(1, 1))
    other = replace(
        check, verdict="parity", sensitivity=Sensitivity((), (BlindSpot("x", HOSTILE),))
    )
    return Report(
        (check, other),
        notes=(HOSTILE,),
        worse=(HOSTILE,),
        errors=(TargetError(HOSTILE, HOSTILE),),
        model_outputs=(ModelOutput(HOSTILE, HOSTILE, 1.0, 1.0, True, HOSTILE, None, HOSTILE),),
    )


def test_names_from_files_stay_text():
    text = hostile().render("html")
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in text
    assert page.text.count("<script>alert(1)</script>") > 10
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert "\x1b" not in text
    assert "\\x1b[31m" in page.text


@pytest.mark.parametrize("report", [Report(ALL), WHOLE, Catalogue(FAULTS), Report((DIVERGED,))])
def test_nothing_is_loaded(report):
    text = report.render("html")
    page = Page(text)
    loads = [a[name] for _, a in page.elements for name in ("src", "data", "poster") if name in a]
    assert loads == []
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert all(a["href"].startswith("#") for a in page.all("a"))
    assert "url(" not in text
    assert "@import" not in text
    urls = re.findall(r"https?://[^\"'\s<>]*", text)
    assert {*urls} <= {"http://www.w3.org/2000/svg"}
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ")


def test_the_style_knows_dark_pages_paper_and_narrow_ones():
    text = Report((DIVERGED,)).render("html")
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "@media screen and (prefers-color-scheme:dark)" in style
    assert "@media print" in style
    assert "@media screen and (max-width:600px)" in style
    assert style.count("{") == style.count("}")
    used = {*re.findall(r"var\(--(\w+)", style)} - {"c"}
    assert used <= {*re.findall(r"--(\w+):", style)}


# Sizes.


def noisy(i, size=(120, 100)):
    """A check that is off everywhere, by other amounts in every cell: nothing of it is compressed.

    Different checks are different, and have all that a check may have.
    """
    rng = np.random.default_rng(i)
    heat = HeatMap.empty(*size)
    heat.include(0, 10.0 ** rng.integers(-2, 8, size))
    rows = tuple(
        row(t, 10.0 ** rng.integers(1, 8), bound=1e-7, max_deviation=float(rng.random()))
        for t in range(size[0])
    )
    weights = tuple(ImpliedWeight("kernel", (j, j), 0.1, 0.2, 9.0) for j in range(20))
    name = "".join(random.Random(i).choices("abcdefghij", k=60))
    subject = replace(DIVERGED.subject, layer_name=name, path=f"models/{name}.keras")
    return replace(
        DIVERGED,
        subject=subject,
        timesteps=rows,
        heat_map=heat,
        implied_weights=weights,
        notes=("a note of about a line, as there may be several of them beside a check",) * 3,
    )


def test_two_hundred_checks_take_less_than_two_megabytes():
    passed = tuple(replace(noisy(i), verdict="parity", causes=()) for i in range(8))
    page = Report(tuple(islice(cycle(passed), 200)))
    assert bytes_of(page) < 2 * 2**20
    assert "So that this file stays below" not in page.render("html")


def test_two_hundred_that_all_diverged_are_shown_smaller_and_it_is_said():
    report = Report(tuple(islice(cycle([noisy(i) for i in range(8)]), 200)))
    text = report.render("html")
    assert len(text.encode()) <= MOST_BYTES < 2 * 2**20
    page = Page(text)
    found = re.search(r"below 2 MiB, (\d+) of 200 checks have smaller pictures", page.text)
    assert 100 < int(found[1]) < 200
    assert page.order() == [*range(1, 201)]
    # Every one has a picture, the first ones the whole.
    assert len(page.all("svg")) >= 200
    assert text.index('class="hover"') < text.index('id="check-2"')


def test_of_few_checks_nothing_is_left_out():
    assert "below 2 MiB" not in page_of(*[noisy(i) for i in range(8)]).text


# The extra.


def test_without_the_packages_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(html, "import_module", missing)
    with pytest.raises(MissingPackageError, match=r"pip install 'rnn-parity\[html\]'"):
        Report(ALL).render("html")
    # Other forms, and a notebook, need none of it.
    assert Report(ALL).render()
    assert "<svg " in Report(ALL)._repr_html_()
