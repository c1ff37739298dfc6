"""Early-time dynamics of the Neural Feature Ansatz (papers C, T, FACT and this project)."""
