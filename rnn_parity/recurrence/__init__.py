"""What a recurrent layer computes: cells, layers as data, activations, sequences, the replay."""
