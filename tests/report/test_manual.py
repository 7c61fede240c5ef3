"""How a page of the manual reads in a terminal."""

import pytest

from rnn_parity.errors import InputError
from rnn_parity.report.manual import contents, explained, rendered, topics

PAGE = """\
# toy: a page
for *people* who read

It says `x * y` and **bold `words`**, and refers to [the bias](faults/bias-dropped.md),
to [the toy itself](toy.md) and to [Keras](https://keras.io).

## A list

- one item, which is so long that it needs a second line
  in the file
- another

    a b    *c*

```python
x = "**as it is**" * 2
```

| name | what it is |
| --- | --- |
| `a` | the first, with a description that is longer than the room |
| long name | second |
"""


def test_a_page_reads_well_in_forty_columns():
    assert (
        rendered("toy", PAGE, 40)
        == """\
toy: a page
===========
for people who read

It says x * y and bold words, and refers
to the bias, to the toy itself and to
Keras (https://keras.io).

A list
------

- one item, which is so long that it
  needs a second line in the file
- another

    a b    *c*

    x = "**as it is**" * 2

name       what it is
---------  -----------------------------
a          the first, with a description
           that is longer than the room
long name  second

See also: rnn-parity explain
bias-dropped"""
    )


@pytest.mark.parametrize("width", [72, 80, 132])
def test_no_line_of_any_page_is_wider_than_the_terminal_but_for_code(width):
    for pages in topics().values():
        for topic in pages:
            for line in explained(topic, width).splitlines():
                assert len(line) <= width or line.startswith("    "), (topic, line)


def test_no_markup_is_left_outside_code():
    for pages in topics().values():
        for topic in pages:
            for line in explained(topic, 100).splitlines():
                if not line.startswith("    "):
                    assert "](" not in line
                    assert "**" not in line
                    assert "`" not in line
                    assert not line.startswith("#")


def test_all_topics_are_listed_by_group():
    listed = contents(80)
    for pages in topics().values():
        for topic in pages:
            assert f"\n  {topic} " in listed
    order = ("How to use it", "\nWords", "\nFaults", "\nKnown differences")
    places = [listed.index(heading) for heading in order]
    assert places == sorted(places)
    assert "  bias-dropped                  the bias is left out\n" in listed


@pytest.mark.parametrize("wanted", ["step-residual", "Step residual", "STEP_RESIDUAL"])
def test_a_topic_may_be_written_as_a_person_says_it(wanted):
    assert explained(wanted, 80) == explained("step-residual", 80)


def test_causes_that_are_named_together_are_shown_one_after_the_other():
    both = explained("bias-dropped+mask-ignored", 80)
    assert both == f"{explained('bias-dropped', 80)}\n\n\n{explained('mask-ignored', 80)}"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("bias-droped", "bias-dropped"), ("residual", "step-residual"), ("sweep", "sweeps")],
)
def test_another_topic_is_refused_with_the_nearest(wanted, nearest):
    with pytest.raises(InputError) as e:
        explained(wanted, 80)
    assert f"explain {wanted!r}: there is no such page; did you mean {nearest}? " in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_a_word_without_a_page_gets_those_that_are_about_it():
    for wanted, said in (
        ("masks", "; see mask-ignored, mask-not-reversed, "),
        ("lstm", "; those that say most of it are keras-files, "),
        ("xyzzy", "; rnn-parity explain lists all"),
        ("if", "; rnn-parity explain lists all"),
    ):
        with pytest.raises(InputError) as e:
            explained(wanted, 80)
        assert f"explain {wanted!r}: there is no such page{said}" in str(e.value)


def test_whatever_is_asked_for_is_answered():
    for wanted in ("", "+", "\x1b[31m", "a" * 10_000, "é", "../README"):
        with pytest.raises(InputError):
            explained(wanted, 80)
