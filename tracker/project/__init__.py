"""The files that are yours to use: Tinybird's datasources and pipes, dashboards and alerts, the SDK, examples.

In a checkout they lie at its top; an installed package carries a copy of them.
"""
