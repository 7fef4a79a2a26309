"""Books, bars and indicators: what is derived from market rows."""
