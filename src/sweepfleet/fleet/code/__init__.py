"""A checkout's code on its way to the cluster."""
