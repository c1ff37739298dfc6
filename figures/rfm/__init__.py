"""Figures of the slice `rfm`: features learned through the average gradient outer product."""
