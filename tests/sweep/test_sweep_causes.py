"""Which causes a finding of a sweep has: those that its members share."""

from rnn_parity.sweep.group import Group
from rnn_parity.sweep.run import shared, witnesses
from rnn_parity.sweep.space import Configuration
from rnn_parity.verdict.results import Cause
from rnn_parity.verdict.sweep_results import Outcome

DEFAULT = Configuration.default("simple_rnn")
DIVERGED, REFUSED = (Outcome(verdict, "") for verdict in ("diverged", "refused"))


def test_a_cause_must_explain_all_members():
    early, late = Cause("time-shifted", "", None), Cause("bias-dropped", "", None)
    assert shared((early, late), []) == (early, late)
    assert shared((early, late), [(late,)]) == (late,)
    assert shared((early, late), [(late,), ()]) == ()


def test_the_members_with_the_most_numbers_are_asked():
    sizes = [DEFAULT.but({"timesteps": n}) for n in (1, 8, 3, 2, 4, 5)]
    outcomes = dict.fromkeys(sizes, DIVERGED) | {DEFAULT.but({"timesteps": 9}): REFUSED}
    group = Group(DEFAULT, "diverged", members=dict.fromkeys(outcomes))
    assert [one["timesteps"] for one in witnesses(group, outcomes)] == [8, 5, 4, 3]
