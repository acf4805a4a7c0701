"""AWS, as the operator's commands reach it: boto3 clients, and errors that a user can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound, TokenRetrievalError

from sweepfleet.fleet.errors import ClusterError

LIMITS = Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 4, "mode": "standard"})
LOG_IN = "Set AWS_PROFILE, or log in: aws sso login, or aws configure"
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "InvalidClientTokenId"}


@dataclass(frozen=True, slots=True)
class Cloud:
    """A region of an account."""

    region: str
    profile: str | None = None
    endpoint_url: str = ""

    def client(self, service: str) -> Any:
        """A client with deadlines.

        Raises:
            ClusterError: the profile does not exist.
        """
        with asking_aws("find the profile"):
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            return session.client(service, endpoint_url=self.endpoint_url or None, config=LIMITS)


def profile_region(profile: str | None) -> tuple[str, str]:
    """The AWS profile that commands use, and its region in ~/.aws/config; empty where it names none.

    Args:
        profile: by name; None: the shell's (AWS_PROFILE), else `default`.

    Raises:
        ClusterError: the profile does not exist.
    """
    with asking_aws("find the profile"):
        session = botocore.session.Session(profile=profile)
        found = session.get_scoped_config().get("region", "")
        return str(session.profile or "default"), str(found)


@contextlib.contextmanager
def asking_aws(doing: str) -> Iterator[None]:
    """Turn AWS's errors into ours: what could not be done, what AWS said, what to type."""
    try:
        yield
    except (NoCredentialsError, TokenRetrievalError):
        raise ClusterError(f"Cannot {doing}: there are no AWS credentials. {LOG_IN}") from None
    except ProfileNotFound as error:
        raise ClusterError(f"Cannot {doing}: {error}. {LOG_IN}") from None
    except ClientError as error:
        code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        remedy = ""
        if code in EXPIRED:
            remedy = f" {LOG_IN}"
        elif code in REFUSED:
            remedy = " docs/cluster.md has the policy that an operator needs."
        raise ClusterError(f"Cannot {doing}: AWS says {code}: {said.rstrip('.')}.{remedy}") from None
    except BotoCoreError as error:
        raise ClusterError(f"Cannot {doing}: {error}") from None
