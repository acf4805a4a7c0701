"""Which answers of AWS no later try changes."""

from __future__ import annotations

import re

# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html which no later try changes: rights,
# names, and what the bucket is.
NEVER = re.compile(
    r"\b(AccessDenied\w*|AccountProblem|AllAccessDisabled|AuthorizationHeaderMalformed|EntityTooLarge|"
    r"InvalidAccessKeyId|InvalidBucketName|InvalidObjectName|InvalidURI|KeyTooLong\w*|MethodNotAllowed|NoSuchBucket|"
    r"PermanentRedirect|SignatureDoesNotMatch|UnauthorizedOperation|ValidationError)\b"
)


def is_final(said: str) -> bool:
    """Whether an answer of AWS says that trying again cannot help."""
    return NEVER.search(said) is not None
