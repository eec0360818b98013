"""The commands: their arguments, and what they run. Each imports it only when it is called."""
