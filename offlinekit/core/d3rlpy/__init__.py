"""Policies that d3rlpy wrote."""
