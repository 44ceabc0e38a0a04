"""Measures the store beside what it replaces: a dict, ``Counter``, prometheus_client, numpy, Redis, SQLite.

Run by ``crdtstats bench``. A :class:`~crdtstats.bench.row.Row` is one line of the table: what is measured, beside
what, and what is promised. Everything is a ratio of two things measured in turns in one run, where there is a peer.
"""
