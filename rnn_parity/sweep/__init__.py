"""A sweep: many combinations of a layer's options checked, and what diverged made small."""
