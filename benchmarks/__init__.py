"""Measurements: against a named peer, on the same work, in one run; ratios as JSON."""
