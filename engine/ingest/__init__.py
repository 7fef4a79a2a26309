"""Other people's files into logs, logs into other people's files, and kept frames into rows again."""
