"""What tests ask of the fault catalogue."""

from corpus import call_of

from rnn_parity.diagnosis.faults import FAULTS, Computation

BY_ID = {fault.id: fault for fault in FAULTS}


def computation(run):
    """A run of a loop as the reference computation."""
    return Computation(*call_of(run), run.stateful)


def variants(fault, reference, outputs=None):
    """The variants of a fault, or what is worth trying on outputs."""
    found = BY_ID[fault].variants(reference)
    if outputs is not None:
        found = BY_ID[fault].candidates(reference, outputs)
    return list(found)


def details(found):
    return [one.detail for one in found]
