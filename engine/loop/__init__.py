"""The deterministic loop: one message is one step, wherever it comes from."""
