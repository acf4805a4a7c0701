"""Parameter sweeps on this machine's cores, or on a cluster in your own AWS account."""
