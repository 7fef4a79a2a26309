"""Venues, one module each: what the live side needs to know of them (engine.live.adapter)."""
