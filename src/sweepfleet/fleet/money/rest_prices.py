"""What a stack's parts cost at rest, beside its instances: us-east-1's list prices of August 2026, in US dollars.

https://aws.amazon.com/ebs/pricing/, https://aws.amazon.com/vpc/pricing/
"""

from __future__ import annotations

TABLE_SOURCE = "disks, addresses and gateways at us-east-1's list prices of August 2026"
HOURS = 730  # a month, as AWS's calculator has it
USD_PER_GB_MONTH = {"gp3": 0.08, "gp2": 0.10, "st1": 0.045, "sc1": 0.015, "standard": 0.05}
ADDRESS_USD_PER_HOUR = 0.005  # a public IPv4 address, in use or not
NAT_USD_PER_HOUR = 0.045  # and 0.045 a GB through it
