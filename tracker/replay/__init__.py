"""Replay: the source log folded again into a separate generation that never touches the live one."""
