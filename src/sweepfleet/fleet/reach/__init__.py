"""The ways to AWS and to the machines."""
