"""Venue protocols, sans-IO: bytes and a receive time in, rows out."""
