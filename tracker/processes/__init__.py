"""Processes and what they hold: starting and watching children, locks, directories, the garbage collector."""
