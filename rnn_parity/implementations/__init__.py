"""Other implementations of a recurrent layer: one module for each kind of `--against` source."""
