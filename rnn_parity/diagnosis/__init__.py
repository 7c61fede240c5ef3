"""Why a check diverged, and what a passing one could not have seen."""
