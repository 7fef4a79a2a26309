"""What a run did, for people: figures, tables, explanations."""
