"""The workers: how many there are, and how they come and go."""
