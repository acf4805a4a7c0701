"""A dask client on this machine, of the cluster's scheduler."""
