"""AGOP and recursive feature machines in closed form (papers E, L, G and this project)."""
