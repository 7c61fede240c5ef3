"""What the installed Keras takes of a layer's options."""

from rnn_parity import keras_adapter as ka
from rnn_parity.sweep.site import describe
from rnn_parity.sweep.space import SPACES, Configuration

KERAS_3 = hasattr(ka.tensorflow_module().keras, "ops")
DEFAULT = Configuration.default("simple_rnn")


def test_the_site_knows_what_its_keras_refuses():
    site = describe("simple_rnn")
    refused = [one.changed for one in site.refused]
    assert {"open_size": "batch", "stateful": True} in refused
    unknown = {"time_major": True} if KERAS_3 else {"activation": "sparsemax"}
    assert unknown in refused
    ((name, value),) = unknown.items()
    assert value not in site.space[name]
    assert set(site.space["dtype"]) == set(ka.POLICIES)
    assert all(site.space[name][0] == values[0] for name, values in SPACES["simple_rnn"].items())
    assert not any(DEFAULT.breaks(rule) for rule in site.rules)
    assert site.environment["tensorflow"] is not None
