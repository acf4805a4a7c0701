"""A cloud on this machine: moto for AWS, and a real machine for every instance. See `cloud.Cloud`."""
