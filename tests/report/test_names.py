"""Names that fit a column."""

from hypothesis import given
from hypothesis import strategies as st

from rnn_parity.report.names import fitted, least_room


def test_a_long_name_loses_its_middle():
    assert fitted(["lstm_of_the_encoder.npz", "a.npz"], 12) == ["lstm_....npz", "a.npz"]


def test_the_cut_leaves_names_apart():
    names = ["run/2.15.0/plain.npz", "run/3.15.1/plain.npz"]
    assert fitted(names, 15) == ["run/2....in.npz", "run/3....in.npz"]
    # Half of the 7 that are kept would be the same at both ends; a third of them at the end is not.
    assert fitted(names, 10) == ["run/2...pz", "run/3...pz"]
    assert fitted(["aaaaaaaaaa1", "aaaaaaaaaa2"], 8) == ["aaa...a1", "aaa...a2"]


def test_names_that_no_cut_leaves_apart_are_whole_over_several_lines():
    names = ["x" * 8 + "1" + "x" * 8, "x" * 8 + "2" + "x" * 8]
    assert fitted(names, 10) == ["x" * 8 + "1x\n" + "x" * 7, "x" * 8 + "2x\n" + "x" * 7]
    # With 5/6 of the 11 at the end, 9 of them, the digit is seen.
    assert least_room(names, 5) == 14
    assert fitted(names, 14) == ["xx...1xxxxxxxx", "xx...2xxxxxxxx"]


def test_names_need_to_differ_among_their_own_alone():
    names = ["x" * 8 + "1" + "x" * 8, "x" * 8 + "2" + "x" * 8]
    assert fitted(names, 10, ["a.npz", "b.npz"]) == ["xxx...xxxx"] * 2


NAMES = st.lists(st.text("ab/", min_size=1, max_size=40), min_size=1, max_size=6)


@given(NAMES, st.integers(6, 20))
def test_names_fit_and_stay_apart(names, room):
    found = fitted(names, room)
    assert len(set(found)) == len(set(names))
    assert max(len(line) for name in found for line in name.split("\n")) <= room
    assert [one for one in found if "." not in one] == [
        "\n".join(name[i : i + room] for i in range(0, len(name), room))
        for name, one in zip(names, found, strict=True)
        if "." not in one
    ]
