"""What runs on a cluster's head: its services, and what they start."""
