"""Deep recursive feature machines, and how collapsed features are."""
