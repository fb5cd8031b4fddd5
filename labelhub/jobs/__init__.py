"""Durable background work: a Job row with a lease, in the same database as the work itself. Knows nobody."""
