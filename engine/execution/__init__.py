"""Orders: their life, the simulated venue, and the accounting of fills."""
