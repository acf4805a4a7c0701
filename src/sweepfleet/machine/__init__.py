"""What runs on the cluster's machines around the sweep: the standard library and Debian's own programs, no more.

Everything here must run with the machine's own Python, before there is an environment.
"""
