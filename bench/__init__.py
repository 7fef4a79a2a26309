"""Measurements, one question per file. `python -m bench` asks all of them, `python -m bench.NAME` one."""
