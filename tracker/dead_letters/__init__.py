"""Dead letters for operators: look at them, export them, send their records again (docs/dead-letters.md)."""
