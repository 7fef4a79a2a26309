"""What a strategy is: its interface, how it is loaded, and what it may not reach."""
