"""The collector as processes: one alone, or a parent with children on one port, and their metrics page."""
