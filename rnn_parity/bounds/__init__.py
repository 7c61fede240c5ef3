"""Where the results of right arithmetic can lie: balls, magnitudes, the bound of a step."""
