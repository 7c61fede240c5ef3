"""The only formatter: every form in which results are shown."""
