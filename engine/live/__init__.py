"""The edge: network and wall clock. Nothing below imports this."""
