"""``crdtstats demo``: replays a git history as counter traffic on several replicas, and proves the totals.

The way: ``git`` and ``history`` read steps, ``traffic`` deals them out as shares, ``truth`` says what must
come out, ``driver`` runs the ``replica`` processes (and kills one of them twice), ``verdict`` compares what
they read, ``report`` shows it.
"""
