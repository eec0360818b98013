"""``tracker demo``: the main job on one machine, watched live or checked unattended by a real browser."""
