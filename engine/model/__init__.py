"""The vocabulary: units, kinds, instruments, rows and errors. Imports nothing else of the engine."""
