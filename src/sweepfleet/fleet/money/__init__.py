"""What instances and sweeps cost."""
