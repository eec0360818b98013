"""How long a test waits for what has to happen."""

#: Longer than it takes on the slowest machine. A wait ends when its condition holds, so a long limit costs no time; a
#: short one fails on a busy machine.
PATIENCE_SECONDS = 300
PATIENCE_MS = PATIENCE_SECONDS * 1_000
