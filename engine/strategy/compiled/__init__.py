"""Strategies at the speed of the machine: `@engine.compiled` classes, from their source to machine code."""
