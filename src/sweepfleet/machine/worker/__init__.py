"""What runs on a cluster's workers, beside the points."""
