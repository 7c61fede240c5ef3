"""From numbers to a verdict: results as frozen data, ratios, what is resolved and what is not."""
