"""The loop's state as values: kept now and then, compared between runs, and taken up again."""
