"""Recursive feature machines: kernel machines that learn their metric."""
