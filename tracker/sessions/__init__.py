"""The pure core: session state as a fold over one partition's log. No clock, no IO, no framework."""
