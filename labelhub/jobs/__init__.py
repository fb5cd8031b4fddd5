"""Durable background work: a Job row with a lease, in the same database as the work itself. Knows nobody.

The row does not stand on django-tasks: its database backend would be a second table with a second state, and that one
stays RUNNING for ever after kill -9. Here one row says who does the work and until when that is believed.
"""
