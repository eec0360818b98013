"""Proves on the user's own data that what is promised holds (docs/verify.md)."""
