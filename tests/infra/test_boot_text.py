"""The boot text: held by golden files, small, without secrets, and the same for the same stack."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from sweepfleet.infra.boot_text import MOST_BYTES, SCRIPTS, UV_SHA256, UV_VERSION, Machine, boot_text, cloud_config
from sweepfleet.infra.layout import BucketLayout, MachinePaths
from sweepfleet.machine.facts import KEYS

GOLDEN = Path(__file__).parents[1] / "golden"
WORKER = Machine(
    stack="dev",
    region="eu-west-1",
    bucket="sweepfleet-dev-0123456789abcdef0123456789",
    role_id="AROA0123456789ABCDEFG",
    head_private_ip="10.42.0.10",
    architecture="amd64",
    package_index="https://pypi.org/simple",
)
HEAD = dataclasses.replace(
    WORKER, data_volume_id="vol-0123456789abcdef0", worker_groups="sweepfleet-dev-workers-0123456"
)
MACHINES = {"head": HEAD, "worker": WORKER}


@pytest.mark.parametrize("role", MACHINES)
def test_the_text_is_the_golden_one(role: str) -> None:
    """To take a change over: SWEEPFLEET_GOLDEN=1 uv run pytest tests/infra/test_boot_text.py"""
    golden = GOLDEN / f"boot-{role}.yaml"
    if os.environ.get("SWEEPFLEET_GOLDEN"):
        golden.write_text(boot_text(MACHINES[role]))
    assert boot_text(MACHINES[role]) == golden.read_text()


@pytest.mark.parametrize("role", MACHINES)
def test_the_text_is_the_same_config_and_small(role: str) -> None:
    longest = dataclasses.replace(
        MACHINES[role],
        stack="a" * 24,
        region="ap-southeast-99",
        bucket="b" * 63,
        package_index="https://" + "p" * 200,
        endpoint_url="https://" + "e" * 100,
    )
    for machine in (MACHINES[role], longest):
        text = boot_text(machine)
        assert text.startswith("#cloud-config\n")
        assert yaml.safe_load(text) == cloud_config(machine)
        assert len(text.encode()) < MOST_BYTES


def test_a_text_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        boot_text(dataclasses.replace(HEAD, package_index="https://" + "p" * MOST_BYTES))


def test_a_worker_is_told_nothing_of_the_heads_volume() -> None:
    text = boot_text(WORKER)
    assert "SWEEPFLEET_ROLE=worker" in text
    assert "DATA_VOLUME=" not in text
    assert "data-volume" not in text
    assert "install-uv" not in text


@pytest.mark.parametrize("value", ["a b", "it's", "$(id)", "x\ny", "`id`", 'a"b'])
def test_a_fact_is_the_same_to_a_shell_whatever_is_in_it(value: str, tmp_path: Path) -> None:
    config = cloud_config(dataclasses.replace(WORKER, package_index=value))
    facts = next(file for file in config["write_files"] if file["path"] == MachinePaths().facts)
    (tmp_path / "env").write_text(facts["content"])
    command = f"set -a; . {tmp_path}/env; exec printenv SWEEPFLEET_PACKAGE_INDEX"
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout == value + "\n"


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir() if path.is_file()))
def test_a_script_is_one_that_its_interpreter_takes(script: str) -> None:
    text = (SCRIPTS / script).read_text()
    if text.startswith("#!/bin/bash\n"):
        subprocess.run(["bash", "-n", SCRIPTS / script], check=True)
    else:
        assert text.startswith("#!/usr/bin/python3\n")
        compile(text, script, "exec")


def test_the_scripts_spell_the_same_paths_as_everybody_else() -> None:
    """They are files of their own, so that they can be read and checked; their paths are held here."""
    bucket, paths = BucketLayout(), MachinePaths()
    publish, wait = ((SCRIPTS / name).read_text() for name in ("publish-host-key", "await-release"))
    assert f"s3://$SWEEPFLEET_BUCKET/{bucket.host_key('$me')}" in publish
    assert f'fetch("{bucket.current}"' in wait
    assert f'fetch("{KEYS.first}"' in wait
    assert f'HOME = pathlib.Path("{paths.home}")' in wait
    assert f'HOME / "{Path(paths.current).name}"' in wait


def test_uv_is_pinned_by_version_and_hash_for_both_architectures() -> None:
    assert set(UV_SHA256) == {"amd64", "arm64"}
    for architecture, digest in UV_SHA256.items():
        text = boot_text(dataclasses.replace(HEAD, architecture=architecture))
        assert f"UV_VERSION={UV_VERSION}\n" in text
        assert f"UV_SHA256={digest}\n" in text
        assert len(bytes.fromhex(digest)) == 32
