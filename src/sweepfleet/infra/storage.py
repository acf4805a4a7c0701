"""The bucket: code, environments, host keys, certificates, and the results that outlive the cluster."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.layout import BucketLayout
from sweepfleet.infra.policies import bucket_policy
from sweepfleet.infra.setup import Setup

OLD_VERSIONS_DAYS = 30  # what was overwritten can be had back for this long
UNFINISHED_UPLOADS_DAYS = 7
PATHS = BucketLayout()
# A worker asks for its certificate when it starts, and keeps it. Host keys stay: the head's must be there as long as
# the head, which publishes it once. Answers outlive letters, or an old letter would be one without an answer.
EXPIRE_DAYS = {PATHS.requests: 30, PATHS.certificates: 30, PATHS.inbox: 30, PATHS.outbox: 90, PATHS.checkpoints: 30}
BRIEF = frozenset({PATHS.checkpoints})  # may be large, and is overwritten often: nobody wants what was there before
BRIEF_DAYS = 1


class PrivateBucket(pulumi.ComponentResource):
    """A private, encrypted, versioned bucket.

    It and what guards it are protected: `pulumi destroy` leaves them, and the next `pulumi up` finds them.
    What is under a prefix of `expire_days` goes by itself after so many days; what was overwritten after
    `old_versions_days`.
    """

    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        tls_only: bool,
        expire_days: Mapping[str, int] = EXPIRE_DAYS,
        old_versions_days: int = OLD_VERSIONS_DAYS,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("sweepfleet:infra:Storage", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, protect=True)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket_prefix=f"{name}-", tags={"Name": name}, opts=kept)
        # Each of these is S3's only when the one before has been taken in, so they come one after the other.
        closed = aws.s3.BucketPublicAccessBlock(
            f"{name}-bucket",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=kept,
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-bucket",
            bucket=bucket.bucket,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=kept,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-bucket",
            bucket=bucket.bucket,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="AES256"
                    )
                )
            ],
            opts=kept,
        )
        versioned = aws.s3.BucketVersioning(
            f"{name}-bucket",
            bucket=bucket.bucket,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=kept,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-bucket",
            bucket=bucket.bucket,
            rules=[
                _old_versions(old_versions_days),
                *(_expire(prefix, days) for prefix, days in expire_days.items()),
            ],
            opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[versioned])),
        )
        if tls_only:
            aws.s3.BucketPolicy(
                f"{name}-bucket",
                bucket=bucket.bucket,
                policy=bucket.arn.apply(lambda arn: bucket_policy(bucket_arn=arn)),
                opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[closed])),
            )
        self.bucket = bucket.bucket
        self.bucket_arn = bucket.arn
        self.register_outputs({"bucket": self.bucket})


class Storage(PrivateBucket):
    """The cluster's bucket."""

    def __init__(self, setup: Setup) -> None:
        """Declare it."""
        # An endpoint of the user's own may have no TLS, and a policy that asks for it would shut everybody out.
        super().__init__(setup.name, tls_only=not setup.settings.endpoint_url.startswith("http://"), opts=setup.opts)


def _old_versions(days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="old-versions",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=days
        ),
        abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=UNFINISHED_UPLOADS_DAYS
        ),
    )


def _expire(prefix: str, days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id=prefix.strip("/"),
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=BRIEF_DAYS
        )
        if prefix in BRIEF
        else None,
    )
