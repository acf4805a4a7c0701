"""What the cluster's commands find out before they touch anything; AWS is moto, the internet a server of ours."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach import bucket
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack import selection as stack
from sweepfleet.fleet.stack.boundary import DOCUMENT
from sweepfleet.fleet.stack.doctor import Finding, examine
from sweepfleet.fleet.stack.own_address import own_cidr
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.quotas import asked, codes_of, quotas
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import RENEW_HEAD
from sweepfleet.infra.settings import KEYS, Settings
from tests.cloud.checkout import address_server
from tests.cloud.moto import Moto, moto_server

REGION = "eu-west-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGKWWZ6FZ2pJPEyXnNfJXpR2m3hwRcdNM8eS0PpXgJvF ada@example.org"
ALLOWED = {"L-1216C47A": 32.0, "L-34B43A08": 64.0, "L-DB2E81BA": 0.0}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@pytest.fixture
def cloud(server: Moto, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """An account; moto knows the quotas of VPC alone, so EC2's are put in."""
    from moto.servicequotas.models import ServiceQuotasBackend

    def quota(self: Any, service_code: str, quota_code: str) -> dict[str, Any]:
        assert service_code == "ec2"
        return {"QuotaCode": quota_code, "Value": ALLOWED[quota_code]}

    monkeypatch.setattr(ServiceQuotasBackend, "get_service_quota", quota)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server.reset()
    return Cloud(REGION, endpoint_url=server.endpoint)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


@pytest.fixture
def pulumi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., PulumiCli]:
    """A `pulumi` on the PATH that knows these answers, and fails on every other question."""

    def make(answers: Mapping[str, Any]) -> PulumiCli:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        lines = ["#!/bin/sh", 'case "$*" in']
        for number, (words, answer) in enumerate(answers.items()):
            (folder / str(number)).write_text(answer if isinstance(answer, str) else json.dumps(answer))
            lines.append(f'"--non-interactive {words}") cat {folder / str(number)} ;;')
        lines += ['*) echo "error: no such question: $*" >&2; exit 1 ;;', "esac"]
        (folder / "pulumi").write_text("\n".join(lines))
        (folder / "pulumi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return PulumiCli(tmp_path)

    return make


def defaults(**other: Any) -> Settings:
    return Settings(ssh_cidrs=("203.0.113.7/32",), ssh_public_key=KEY, **other)


# The caller's own address


def test_ones_own_address_is_a_network_of_one() -> None:
    with address_server("198.51.101.9") as url:
        assert own_cidr(url) == "198.51.101.9/32"


@pytest.mark.parametrize(
    "answer", ["", "<html>", "10.0.0.7", "127.0.0.1", "2001:db8::1", "0.0.0.1", "198.51.101.9/0"]
)
def test_an_answer_that_is_no_public_address_is_refused(answer: str) -> None:
    """Opening SSH to whatever a proxy says would open it to somebody else."""
    with address_server(answer) as url, pytest.raises(ClusterError, match="pulumi config set --path 'sshCidrs"):
        own_cidr(url)


def test_no_answer_says_what_to_type_instead() -> None:
    with pytest.raises(ClusterError, match="pulumi config set --path 'sshCidrs"):
        own_cidr("http://127.0.0.1:9")


# What is chosen for a user who set nothing


def profile(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The user's ~/.aws/config."""
    file = home / "config"
    file.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))


PROFILES = (
    "[default]\nregion = eu-north-1\n[profile research]\nregion = eu-central-1\n[profile bare]\noutput = json\n"
)


@pytest.mark.parametrize(
    ("config", "shell", "expected"),
    [
        ({"aws:region": "ap-south-1"}, {"AWS_REGION": REGION}, None),
        ({}, {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": "us-west-2"}, (REGION, "from AWS_REGION")),
        ({}, {"AWS_DEFAULT_REGION": "us-west-2"}, ("us-west-2", "from AWS_DEFAULT_REGION")),
        ({}, {"AWS_PROFILE": "research"}, ("eu-central-1", "from the AWS profile 'research'")),
        ({"aws:profile": "research"}, {}, ("eu-central-1", "from the AWS profile 'research'")),
        ({}, {}, ("eu-north-1", "from the AWS profile 'default'")),
    ],
)
def test_the_region_is_the_stacks_else_the_shells_else_the_profiles(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, str],
    shell: dict[str, str],
    expected: tuple[str, str] | None,
) -> None:
    profile(home, monkeypatch, PROFILES)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    made = stack.region_choice(config, stands_in="", environment=shell)
    assert (made and (made.value, made.why)) == expected


def test_without_a_region_anywhere_the_lines_to_type_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile(home, monkeypatch, PROFILES)
    monkeypatch.setenv("AWS_PROFILE", "bare")
    with pytest.raises(UsageError, match="aws configure set region eu-central-1 --profile bare"):
        stack.region_choice({}, stands_in="", environment={})
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    with pytest.raises(ClusterError, match="none-such"):
        stack.region_choice({}, stands_in="", environment={})


def test_a_stack_that_is_up_keeps_its_region() -> None:
    """Whatever the shell says; and settings that say otherwise are refused, since a stack cannot move."""
    made = stack.region_choice({}, stands_in="us-east-1", environment={"AWS_REGION": REGION})
    assert made is not None
    assert made.value == "us-east-1"
    assert stack.region_choice({"aws:region": REGION}, stands_in=REGION, environment={}) is None
    with pytest.raises(UsageError, match=f"are in us-east-1, and aws:region is {REGION}.*aws:region us-east-1"):
        stack.region_choice({"aws:region": REGION}, stands_in="us-east-1", environment={})


def test_what_nobody_set_is_chosen_and_what_somebody_set_is_left(home: Path) -> None:
    (home / ".ssh" / "id_ed25519.pub").write_text(KEY + "\n")
    unset = {"sweepfleet:sshPublicKey": KEYS["sshPublicKey"].default, "sweepfleet:owner": "unset"}
    with address_server("198.51.101.9") as url:
        made = stack.choices(unset, stands_in="", address_url=url, environment={"AWS_REGION": REGION})
        assert [(one.path, one.value) for one in made][:3] == [
            ("aws:region", REGION),
            ("sshCidrs[0]", "198.51.101.9/32"),
            ("sshPublicKey", KEY),
        ]
        assert made[3].path == "owner"
        settings = stack.checked(stack.with_choices(unset, made), stack="dev")
        assert settings.ssh_cidrs == ("198.51.101.9/32",)
    everything = unset | {
        "aws:region": REGION,
        "sweepfleet:sshCidrs": '["203.0.113.7/32"]',
        "sweepfleet:owner": "ada",
        "sweepfleet:sshPublicKey": KEY,
    }
    assert stack.choices(everything, stands_in="", address_url="http://127.0.0.1:9", environment={}) == []


def test_the_stack_is_the_one_asked_for_else_the_selected_else_dev(pulumi: Callable[..., PulumiCli]) -> None:
    cli = pulumi({"stack ls --json": [{"name": "ada/sweepfleet/lab", "current": True}, {"name": "old"}]})
    assert stack.chosen_stack(cli, "old") == "old"
    assert stack.chosen_stack(cli, "") == "lab"
    with pytest.raises(UsageError, match="cannot be a cluster's name"):
        stack.chosen_stack(cli, "My_Stack")
    with pytest.raises(UsageError, match="inv up --stack new"):
        stack.require_stack(cli, "new")
    stack.require_stack(cli, "lab")
    assert stack.chosen_stack(pulumi({"stack ls --json": []}), "") == "dev"


def test_what_pulumi_refuses_is_said_in_its_words(pulumi: Callable[..., PulumiCli]) -> None:
    with pytest.raises(ClusterError, match="`pulumi stack`: no such question: --non-interactive stack ls --json"):
        pulumi({}).selected()


def test_without_pulumi_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"https://www\.pulumi\.com/docs/install/"):
        PulumiCli(tmp_path).version()


# The bucket


def test_a_bucket_is_counted_and_emptied_with_all_its_versions(cloud: Cloud, server: Moto) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for number in range(1100):  # more than one page
        s3.put_object(Bucket="kept", Key=f"runs/{number}", Body=b"abc")
    s3.put_object(Bucket="kept", Key="runs/0", Body=b"newer")
    s3.delete_object(Bucket="kept", Key="runs/1")
    s3.create_multipart_upload(Bucket="kept", Key="half")
    assert bucket.contents(cloud, "kept") == bucket.Contents(objects=1099, size_bytes=1098 * 3 + 5)
    assert bucket.empty(cloud, "kept") == 1102
    assert s3.list_multipart_uploads(Bucket="kept").get("Uploads", []) == []
    s3.delete_bucket(Bucket="kept")
    assert bucket.contents(cloud, "kept") is None


def test_what_aws_refuses_says_what_was_tried(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="Cannot empty the bucket gone: AWS says NoSuchBucket"):
        bucket.empty(cloud, "gone")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ClusterError, match="there are no AWS credentials"):
        bucket.contents(cloud, "kept")
    with pytest.raises(ClusterError, match="Cannot find the profile"):
        Cloud(REGION, profile="nobody").client("s3")


# Quotas


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {("L-34B43A08", "spot"): 10 * 4, ("L-1216C47A", "on-demand"): 2}),
        ({"spot_percent": 0}, {("L-1216C47A", "on-demand"): 10 * 4 + 2}),
        (
            {"spot_percent": 50, "on_demand_base": 4},
            {("L-34B43A08", "spot"): 3 * 4, ("L-1216C47A", "on-demand"): (4 + 3) * 4 + 2},
        ),
        (
            {"worker_instance_types": ("g5.xlarge", "c7i.xlarge"), "spot_percent": 0},
            {("L-DB2E81BA", "on-demand"): 10 * 8, ("L-1216C47A", "on-demand"): 10 * 4 + 2},
        ),
    ],
)
def test_a_cluster_at_its_largest_asks_for_so_many_vcpus(settings: Any, expected: dict[tuple[str, str], int]) -> None:
    vcpus = dict.fromkeys(defaults().worker_instance_types, 4) | {"t3.medium": 2, "g5.xlarge": 8}
    assert asked(defaults(**settings), vcpus) == expected


def test_a_family_counts_against_its_own_quota() -> None:
    assert codes_of("c7i.xlarge") == codes_of("m6g.large") == codes_of("t3.nano") == codes_of("hpc7a.12xlarge")
    assert len({codes_of(one) for one in ("c7i.large", "p5.48xlarge", "g5.xlarge", "inf2.xlarge", "x2gd.large")}) == 5


def test_quotas_are_aws_own(cloud: Cloud) -> None:
    found = {one.kind: (one.asked_vcpus, one.allowed_vcpus) for one in quotas(cloud, defaults(max_workers=20))}
    assert found == {"on-demand": (2, 32), "spot": (80, 64)}


# The doctor


def findings(root: Path, **environment: str) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for finding in examine(root, asked_stack="", environment=environment):
        found[finding.subject if finding.subject != "quota" else finding.said.split(":")[0]] = finding
    return found


def test_the_doctor_finds_everything_that_is_missing_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = findings(tmp_path)
    bad = {subject for subject, finding in found.items() if not finding.good}
    assert bad == {"uv", "ssh", "pulumi", "SSH key", "AWS credentials", "region"}
    assert "https://www.pulumi.com/docs/install/" in found["pulumi"].fix
    assert found["SSH key"].fix == "ssh-keygen -t ed25519"
    assert "aws sso login" in found["AWS credentials"].said


def test_the_doctor_finds_nothing_on_a_machine_that_is_ready(
    cloud: Cloud, home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    ready(home, cloud, pulumi)
    found = findings(tmp_path)
    assert [str(finding) for finding in found.values() if not finding.good] == []
    assert {"settings", "region", "spot", "on-demand", "SSH key", "pulumi login", "stack"} <= set(found)


def ready(
    home: Path,
    cloud: Cloud,
    pulumi: Callable[..., PulumiCli],
    *,
    answers: dict[str, Any] | None = None,
    **other: str,
) -> None:
    """A stack, its key, tools and an account."""
    key = home / ".ssh" / "id_ed25519"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    values = {
        "aws:region": cloud.region,
        "sweepfleet:sshCidrs": '["203.0.113.7/32"]',
        "sweepfleet:sshPublicKey": key.with_suffix(".pub").read_text().strip(),
        "sweepfleet:endpointUrl": cloud.endpoint_url,
    } | other
    cli = pulumi(
        {
            "version": "v3.260.0",
            "whoami --json": {"user": "ada", "url": "https://app.pulumi.com/ada"},
            "stack ls --json": [{"name": "dev", "current": True}],
            "stack export --stack dev": {"deployment": {"secrets_providers": {"type": "service"}}},
            "config --json --stack dev": {key: {"value": value, "secret": False} for key, value in values.items()},
            **(answers or {}),
        }
    )
    uv = cli.root / "bin" / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)


def test_the_doctor_names_a_quota_that_is_too_small_and_how_to_raise_it(
    cloud: Cloud, home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    ready(home, cloud, pulumi, **{"sweepfleet:maxWorkers": "20"})
    found = findings(tmp_path)
    assert not found["spot"].good
    assert "--quota-code L-34B43A08 --desired-value 80" in found["spot"].fix
    assert found["on-demand"].good


def test_the_doctor_and_up_say_how_the_boundary_of_machines_is_made(
    cloud: Cloud, home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    """An account without it, one with another version's, one that has its own, and one that wants none."""
    iam, arn = cloud.client("iam"), "arn:aws:iam::123456789012:policy/sweepfleet-machines"
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    iam.delete_policy(PolicyArn=arn)
    make = f"aws iam create-policy --policy-name sweepfleet-machines --policy-document file://{DOCUMENT}"
    assert json.loads(Path(DOCUMENT).read_text())["Statement"] == document["Statement"]
    for settings, made, fix in (
        ({}, None, make),
        ({}, document | {"Statement": document["Statement"][:1]}, "aws iam create-policy-version --set-as-default"),
        ({}, document, ""),
        ({"sweepfleet:permissionsBoundary": "none"}, None, ""),
        ({"sweepfleet:permissionsBoundary": "arn:aws:iam::123456789012:policy/own"}, None, ""),
    ):
        if made:
            iam.create_policy(PolicyName="sweepfleet-machines", PolicyDocument=json.dumps(made))
        ready(home, cloud, pulumi, **settings)
        found = findings(tmp_path)["machines' boundary"]
        assert (found.good, fix in found.fix) == (not fix, True)
        with pytest.raises(ClusterError) as refused:  # this `pulumi` makes nothing
            Stack(tmp_path, "dev", PulumiCli(tmp_path), print).up(yes=True)
        assert ("`pulumi up" not in str(refused.value), fix in str(refused.value)) == (bool(fix), True)
        if made:
            iam.delete_policy(PolicyArn=arn)


@pytest.mark.parametrize(("path", "renew", "made"), [("/", "", False), ("/", "1", True), ("/sweepfleet/", "", True)])
def test_roles_of_an_older_version_are_replaced_with_the_head_alone(
    cloud: Cloud,
    home: Path,
    pulumi: Callable[..., PulumiCli],
    tmp_path: Path,
    path: str,
    renew: str,
    made: bool,  # noqa: FBT001
) -> None:
    """The head would have another identity than it was told of."""
    role = {
        "urn": "r",
        "type": "aws:iam/role:Role",
        "outputs": {"arn": f"arn:aws:iam::123456789012:role{path}sweepfleet-dev-x"},
    }
    ready(home, cloud, pulumi, answers={"stack export --stack dev": {"deployment": {"resources": [role]}}})
    cli = PulumiCli(tmp_path, {RENEW_HEAD: renew} if renew else {})
    with pytest.raises(ClusterError if made else UsageError) as refused:
        Stack(tmp_path, "dev", cli, print).up(yes=True)
    assert ("inv up --renew-head" in str(refused.value)) is not made


def test_the_doctor_says_what_is_wrong_with_settings(
    cloud: Cloud, home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    ready(home, cloud, pulumi, **{"sweepfleet:spotPercent": "300", "sweepfleet:budgetUsd": "0"})
    found = findings(tmp_path)
    assert not found["settings"].good
    assert "2 problems" in found["settings"].said
    assert "pulumi config set spotPercent 100" in found["settings"].fix


def lock(key: Path) -> None:
    """Give a key a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-f", str(key)], check=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.chmod(0o644), "chmod 600"),
        (lambda key: key.unlink(), "Put the private key at"),
        (lambda key: key.with_suffix(".pub").write_text(KEY), "Use the machine that has the key"),
        (lock, "ssh-add "),
    ],
    ids=["readable by others", "no private key", "another key", "a passphrase"],
)
def test_the_doctor_looks_at_the_key(
    cloud: Cloud,
    home: Path,
    pulumi: Callable[..., PulumiCli],
    tmp_path: Path,
    spoil: Callable[[Path], Any],
    said: str,
) -> None:
    ready(home, cloud, pulumi)
    key = home / ".ssh" / "id_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    spoil(key)
    found = findings(tmp_path)
    assert not found["SSH key"].good
    assert said in found["SSH key"].fix


def test_a_key_is_found_by_any_name(
    cloud: Cloud, home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    ready(home, cloud, pulumi)
    key = home / ".ssh" / "id_ed25519"
    mine = key.rename(key.with_name("my.cluster"))
    key.with_suffix(".pub").rename(key.with_name("my.cluster.pub"))
    assert findings(tmp_path)["SSH key"].said == str(mine)


def test_an_old_pulumi_is_named(home: Path, pulumi: Callable[..., PulumiCli], tmp_path: Path) -> None:
    pulumi({"version": "v3.9.0"})
    found = findings(tmp_path)
    assert found["pulumi"].said.startswith("pulumi 3.9.0 is older than 3.252, the oldest that works.")
    assert "pulumi login" not in found
