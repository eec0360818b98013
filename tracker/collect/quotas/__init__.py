"""How many events of today a workspace may send: read from what the processors have counted (docs/usage.md)."""
