"""Trials of alignment on simulated tastes: the evidence behind the defaults, made to be rerun."""
