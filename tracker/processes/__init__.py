"""Processes and their resources: starting and watching children, locks, directories, the garbage collector."""
