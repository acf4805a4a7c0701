"""The Python API of sweepfleet."""
