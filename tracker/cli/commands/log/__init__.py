"""Commands that read a log from beginning to end, write one, or decide what is skipped in it."""
