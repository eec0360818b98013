"""Commands that read a log from beginning to end, write one, or skip records of it."""
