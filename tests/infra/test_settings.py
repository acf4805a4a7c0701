"""A stack's settings: every mistake has its message, all come at once, and Pulumi knows the same keys."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from sweepfleet.infra.checks import architecture
from sweepfleet.infra.durations import patience_s, tag_value
from sweepfleet.infra.layout import AddressPlan
from sweepfleet.infra.problems import SettingsError
from sweepfleet.infra.settings import KEYS, Settings, read

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGKWWZ6FZ2pJPEyXnNfJXpR2m3hwRcdNM8eS0PpXgJvF ada@example.org"


def settings(*, stack: str = "dev", region: str = "eu-west-1", **given: Any) -> Settings:
    """Settings of these keys, and the two that every user has."""
    values = {"sshCidrs": ["203.0.113.7/32"], "sshPublicKey": KEY} | given
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return read({key: text for key, text in texts.items() if text != "null"}, stack=stack, region=region)


def refusal(**given: Any) -> str:
    """What is said to settings that cannot be used."""
    with pytest.raises(SettingsError) as refused:
        settings(**given)
    assert len(refused.value.problems) == 1, str(refused.value)
    return str(refused.value.problems[0])


def test_only_the_networks_for_ssh_must_be_set() -> None:
    assert [key.name for key in KEYS.values() if key.required] == ["sshCidrs"]
    assert settings().max_workers == KEYS["maxWorkers"].default


def test_networks_missing_says_which_command_sets_them() -> None:
    assert "pulumi config set --path 'sshCidrs[0]' 203.0.113.7/32" in refusal(sshCidrs=None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sshCidrs": ["0.0.0.0/0"]}, "whole internet"),
        ({"sshCidrs": ["::/0"]}, "whole internet"),
        ({"sshCidrs": ["203.0.113.7/0"]}, "whole internet"),
        ({"sshCidrs": ["128.0.0.0/1"]}, "close to the whole internet"),
        ({"sshCidrs": ["2001:db8::/32"]}, "IPv4 address only"),
        ({"sshCidrs": ["203.0.113.7"]}, "sshCidrs[0]' 203.0.113.7/32"),
        ({"sshCidrs": ["203.0.113.7/24"]}, "sshCidrs[0]' 203.0.113.0/24"),
        ({"sshCidrs": ["home"]}, "is not a network"),
        ({"sshCidrs": []}, "no one could reach"),
        ({"sshCidrs": "203.0.113.7/32"}, "is not a list of texts"),
        ({"sshCidrs": [7]}, "is not a list of texts"),
        ({"sshCidrs": ["203.0.113.0/24", "203.0.113.7/32"]}, "lies within 203.0.113.0/24"),
        ({"sshCidrs": ["203.0.113.7/32", "203.0.113.0/24"]}, "pulumi config rm --path 'sshCidrs[0]'"),
        ({"sshCidrs": ["203.0.113.7/32", "203.0.113.7/32"]}, "pulumi config rm --path 'sshCidrs[1]'"),
        ({"sshPublicKey": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"}, "never leave your machine"),
        ({"sshPublicKey": "ecdsa-sha2-nistp256 AAAA me"}, "not a public key that EC2 accepts"),
        ({"sshPublicKey": f"{KEY}\n{KEY}"}, "not a public key that EC2 accepts"),
        ({"sshPublicKey": "~/no/such/file.pub"}, "ssh-keygen -t ed25519"),
        ({"vpcCidr": "10.42.0.0"}, "is not between /16 and /25"),
        ({"vpcCidr": "10.0.0.0/15"}, "is not between /16 and /25"),
        ({"vpcCidr": "10.42.0.0/26"}, "is not between /16 and /25"),
        ({"vpcCidr": "10.42.0.9/16"}, "is not an IPv4 network"),
        ({"vpcCidr": "8.8.0.0/16"}, "is not private"),
        ({"vpcCidr": "10.42.0.0/24", "maxWorkers": 28}, "pulumi config set vpcCidr 10.42.0.0/23"),
        ({"vpcCidr": "10.42.0.0/16", "sshCidrs": ["10.0.0.0/8"]}, "pulumi config set vpcCidr 172.20.0.0/16"),
        ({"vpcCidr": "192.168.0.0/16", "sshCidrs": ["192.168.1.0/24"]}, "pulumi config set vpcCidr 10.42.0.0/16"),
        ({"zones": ["us-east-1a"]}, "not an availability zone of eu-west-1"),
        ({"zones": ["eu-west-1"]}, "pulumi config set --path 'zones[0]' eu-west-1a"),
        ({"zones": ["eu-west-1-lhr-1a"]}, "not an availability zone"),
        ({"zones": ["eu-west-1a", "eu-west-1b", "eu-west-1a"]}, "pulumi config rm --path 'zones[2]'"),
        ({"headInstanceType": "medium"}, "family, dot, size"),
        ({"headInstanceType": "t4g.medium"}, "both must be of one architecture"),
        ({"workerInstanceTypes": ["c7i.xlarge", "c7.enormous"]}, "workerInstanceTypes[1]"),
        ({"workerInstanceTypes": ["c7i.xlarge", "c7g.xlarge"]}, "mixes c7i.xlarge (amd64) and c7g.xlarge (arm64)"),
        ({"workerInstanceTypes": ["c7i.xlarge", "c7i.xlarge"]}, "listed twice"),
        ({"workerInstanceTypes": []}, "has 0 types"),
        ({"workerInstanceTypes": ["mac1.metal"]}, "does not run Debian"),
        ({"maxWorkers": 0}, "is not between 1 and 1000"),
        ({"maxWorkers": "many"}, "is not a whole number"),
        ({"maxWorkers": 2.5}, "is not a whole number"),
        ({"spotPercent": 101}, "is not between 0 and 100"),
        ({"spotPercent": -1}, "is not between 0 and 100"),
        ({"spotPatience": "10"}, "`10` is not a duration. Use one such as 10m, or `never`."),
        ({"spotPatience": "0m"}, "`0m` is not a duration"),
        ({"spotPatience": ""}, "is not a duration"),
        ({"onDemandBase": 11}, "is not between 0 and 10"),
        ({"dataVolumeGb": 0}, "is not between 1 and 16384"),
        ({"workerDiskGb": 8}, "is not between 16 and 16384"),
        ({"budgetUsd": 0}, "lets nothing run"),
        ({"budgetUsd": -5}, "lets nothing run"),
        ({"owner": ""}, "cannot be an AWS tag"),
        ({"owner": "ada;rm"}, "cannot be an AWS tag"),
        ({"headCpuCredits": "plenty"}, "`plenty` cannot be used. Use standard or unlimited."),
        ({"headAddress": "fixed"}, "`fixed` cannot be used. Use changes or stays."),
        ({"headIdleStop": "soon"}, "`soon` is not a time of at least 60 s. Use 30m, 2h, 1d or never."),
        ({"headIdleStop": "5s"}, "`5s` is not a time of at least 60 s. Use 30m, 2h, 1d or never."),
        ({"workerEgress": "vpn"}, "is not an egress mode. Use `none`, `public` or `nat`."),
        ({"amiId": "debian-12"}, "not an image id"),
        ({"permissionsBoundary": "boundary"}, "is not the ARN of a policy. Use one, or `none`"),
        ({"permissionsBoundary": "arn:aws:iam::1:role/x"}, "arn:aws:iam::123456789012:policy/boundary"),
        ({"packageIndex": "ftp://pypi.org"}, "is not an http or https address"),
        ({"packageIndex": "https://ada:secret@pypi.example.org/simple"}, "user name or password"),
        ({"packageIndex": "https://pypi.example.org/`id`"}, "is not an http or https address"),
        ({"endpointUrl": "localhost:4566"}, "is not an http or https address"),
        ({"maxWorker": 3}, "Did you mean `maxWorkers`?"),
        ({"colour": "blue"}, "pulumi config rm colour"),
    ],
)
def test_a_mistake_has_its_message(given: dict[str, Any], said: str) -> None:
    assert said in refusal(**given)


@pytest.mark.parametrize("name", ["Dev", "dev_1", "-dev", "dev-", "de--v", "1dev", "a" * 25, "", "dev.x"])
def test_a_stack_has_a_name_that_all_its_parts_can_carry(name: str) -> None:
    assert "pulumi stack rename" in refusal(stack=name)


def test_all_problems_come_at_once_and_nothing_else() -> None:
    with pytest.raises(SettingsError) as refused:
        settings(sshCidrs=["0.0.0.0/0"], spotPercent=200, budgetUsd=0, workerEgress="vpn", zone=[])
    assert [problem.key for problem in refused.value.problems] == [
        *("zone", "sshCidrs", "spotPercent", "budgetUsd", "workerEgress")
    ]
    assert str(refused.value).startswith("5 problems in the stack's settings; nothing was changed.")


def test_a_public_key_may_be_given_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY + "\n")
    assert settings(sshPublicKey=str(tmp_path / "key.pub")).ssh_public_key == KEY


def test_a_private_keys_file_is_refused(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    assert "never leave your machine" in refusal(sshPublicKey=str(tmp_path / "key"))
    assert settings(sshPublicKey=str(tmp_path / "key.pub")).ssh_public_key.startswith("ssh-ed25519 ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "arm64") for name in ("c7g.large", "a1.large", "x2gd.metal", "im4gn.4xlarge", "g5g.xlarge")),
        *((name, "arm64") for name in ("hpc7g.4xlarge", "c8gn.48xlarge", "p6e-gb200.36xlarge", "t4g.nano")),
        *(
            (name, "amd64")
            for name in ("c7i.large", "g4dn.xlarge", "c7i-flex.large", "u-6tb1.56xlarge", "m7i.metal-24xl")
        ),
        *((name, None) for name in ("c7", "c7i.huge", "C7i.large", ".large", "c7i.large ", "c7g.large\n")),
    ],
)
def test_a_types_name_tells_its_architecture(name: str, expected: str | None) -> None:
    assert architecture(name) == expected


@trials(deadline=None)
@given(st.integers(16, 25), st.permutations("abcdefg"))
def test_subnets_never_overlap_and_a_zone_keeps_its_own(prefix: int, letters: list[str]) -> None:
    """Whichever zones are there, in whatever order, each has the same addresses, and none of another's."""
    plan = AddressPlan(f"10.42.0.0/{prefix}")
    cidrs = [plan.head_cidr, *(plan.workers_cidr(f"eu-west-1{letter}") for letter in letters)]
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    assert not any(a.overlaps(b) for n, a in enumerate(networks) for b in networks[:n])
    assert all(network.subnet_of(ipaddress.ip_network(plan.vpc_cidr)) for network in networks)
    assert ipaddress.ip_address(plan.head_ip) in list(networks[0].hosts())
    assert plan.workers_cidr("x-y-1c") == plan.workers_cidr("eu-west-1c")
    assert networks[1].num_addresses - 5 == plan.workers_per_zone


@trials(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(KEYS)), st.text(max_size=30), max_size=6))
def test_whatever_is_written_there_is_an_answer(values: dict[str, str]) -> None:
    """Settings or their problems; never another error."""
    with contextlib.suppress(SettingsError):
        assert read(values, stack="dev", region="eu-west-1", read_file=lambda _: KEY).ssh_cidrs


def project_config() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    return {key: value for key, value in config.items() if ":" not in key}


def test_pulumi_knows_the_same_keys_types_defaults_and_descriptions() -> None:
    declared = project_config()
    assert list(declared) == list(KEYS)
    for name, key in KEYS.items():
        assert declared[name]["type"] == key.kind, name
        assert declared[name]["description"] == key.help, name
        default = declared[name].get("default")
        assert (tuple(default) if isinstance(default, list) else default) == (
            None if key.required else key.default
        ), name
        assert declared[name].get("items") == ({"type": "string"} if key.kind == "array" else None), name


def test_the_example_names_every_key_with_its_default() -> None:
    example = yaml.safe_load((ROOT / "Pulumi.example.yaml").read_text())["config"]
    named = {
        key.removeprefix("sweepfleet:"): value for key, value in example.items() if key.startswith("sweepfleet:")
    }
    assert set(named) == set(KEYS)
    for name, key in KEYS.items():
        if name not in {"sshCidrs", "owner"}:
            default = list(key.default) if isinstance(key.default, tuple) else key.default
            assert named[name] == default, name


@pytest.mark.parametrize(("text", "tag"), [("90s", "90"), ("10m", "600"), ("2h", "7200"), ("never", "never")])
def test_patience_is_a_duration_or_never(text: str, tag: str) -> None:
    assert settings(spotPatience=text).spot_patience == text
    assert tag_value(patience_s(text)) == tag
