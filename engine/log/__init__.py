"""The event log: an Arrow IPC file that is appended to, checked, sealed and read again."""
