"""The rooms of the API: one contract, one room; what several need is beside them here."""
