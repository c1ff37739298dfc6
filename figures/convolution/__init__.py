"""Figures of the slice `convolution`: features of patches."""
