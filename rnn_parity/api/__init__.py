"""The public functions, which put verdict and diagnosis together; recording and re-checking."""
