"""Replay: the source log folded again into a generation of its own, beside the live one and never touching it."""
