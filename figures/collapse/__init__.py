"""Figures of the slice `collapse`: features that collapse layer by layer."""
