"""What the page of reports may ask of Tinybird's pipes, and the client that asks."""
