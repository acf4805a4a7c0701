"""The pipeline: clusters and sweeps by pull request. Tasks: `inv ci.*`."""
