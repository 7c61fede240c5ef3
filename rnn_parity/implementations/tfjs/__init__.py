"""TensorFlow.js, run by Node: its layers, and models in its own format."""
