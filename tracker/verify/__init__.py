"""Proves on the user's own data that the tracker's promises hold (docs/verify.md)."""
