"""Runs on the cluster: started, followed, fetched."""
