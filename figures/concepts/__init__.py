"""Figures of the concepts slice."""
