"""Deep neural collapse by the AGOP in closed form (paper B and this project)."""
