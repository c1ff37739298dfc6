"""Convolutional recursive feature machines, and the patch-AGOP of convolutional networks."""
