"""What is done when AWS does not answer: try again with longer and longer pauses, unless it can never work."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

FIRST_S = 1.0
LONGEST_S = 60.0
# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html which no later try changes: rights,
# names, and what the bucket is.
NEVER = re.compile(
    r"\b(AccessDenied\w*|AccountProblem|AllAccessDisabled|AuthorizationHeaderMalformed|EntityTooLarge|"
    r"InvalidAccessKeyId|InvalidBucketName|InvalidObjectName|InvalidURI|KeyTooLong\w*|MethodNotAllowed|NoSuchBucket|"
    r"PermanentRedirect|SignatureDoesNotMatch|UnauthorizedOperation|ValidationError)\b"
)
_jitter = random.Random()  # noqa: S311 - it only spreads the tries of many workers


def is_final(said: str) -> bool:
    """Whether an answer of AWS says that trying again cannot help."""
    return NEVER.search(said) is not None


def pauses(*, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> Iterator[float]:
    """Pauses between tries in seconds: each up to twice the one before, up to a limit; half of it is chance."""
    pause_s = first_s
    while True:
        yield pause_s * _jitter.uniform(0.5, 1.0)
        pause_s = min(longest_s, 2 * pause_s)
