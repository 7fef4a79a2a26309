"""Questions to Claude: what one is, how it is known again, and where its answers are kept."""
