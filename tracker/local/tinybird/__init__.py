"""A local Tinybird on chdb: the Events API and ``/v0/sql`` over the project's own datasource files.

For development and tests. It is as strict as the real one where a sender could go wrong: types, required
columns, quarantine, sizes, rates. It serves this machine only.
"""
