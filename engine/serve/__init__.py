"""Local venues that speak a venue's own protocol, and the synthetic market behind them."""
