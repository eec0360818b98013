"""What operators have decided about the source log: written down, and heeded by every fold."""
