"""CPU credits: what a burstable worker costs beyond its price while all its cores are busy, as in a sweep; pure.

AWS launches t3, t3a and t4g as `unlimited`: they do not slow down without credits, and each vCPU-hour above the
baseline is charged, on spot instances too. Such a worker has no credits when it starts. t2 launches as `standard`.
"""

from __future__ import annotations

# Linux: https://aws.amazon.com/ec2/pricing/on-demand/#T2.2FT3.2FT4g_Unlimited_Mode_Pricing
USD_PER_VCPU_HOUR = {"t3": 0.05, "t3a": 0.05, "t4g": 0.04}
# By size, the same in these families: vCPUs, and credits earned in an hour. A credit is a minute of one vCPU.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html
SIZES = {
    "nano": (2, 6),
    "micro": (2, 12),
    "small": (2, 24),
    "medium": (2, 24),
    "large": (2, 36),
    "xlarge": (4, 96),
    "2xlarge": (8, 192),
}


def is_charged(instance_type: str) -> bool:
    """Whether a worker of this type is charged for CPU credits."""
    return instance_type.partition(".")[0] in USD_PER_VCPU_HOUR


def surplus_usd(instance_type: str) -> float | None:
    """The charge for an hour with all cores busy: 0 for a type without credits, None for a size that is not known."""
    family, _, size = instance_type.partition(".")
    if not is_charged(instance_type):
        return 0.0
    if size not in SIZES:
        return None
    vcpus, credits_earned = SIZES[size]
    return (vcpus - credits_earned / 60) * USD_PER_VCPU_HOUR[family]
