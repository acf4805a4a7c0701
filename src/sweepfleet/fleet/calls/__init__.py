"""The way from an Executor on this machine to the driver of its calls on a cluster."""
