"""Whether this process computes a sweep's points."""

a_point = False
