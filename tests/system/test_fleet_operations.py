"""The cluster operated as typed: pushed to, started, looked at, stopped, in the rehearsal cloud."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.fleet.reach.console import readable
from sweepfleet.infra.layout import PATIENCE_TAG
from tests.cloud import engine
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
PATIENCE_S = 240
GO, LET_GO = "/tmp/go", "/tmp/let-go"  # noqa: S108 - on a worker
FIT = """\
import time
from pathlib import Path


def fit(i: int) -> dict[str, float]:
    while i < 100 and not Path("/tmp/go").exists():  # a machine that joins later has no such file
        time.sleep(0.1)
    time.sleep(0.2)
    return {"value": i * 2.0}


def one_is_long(i: int) -> dict[str, float]:
    while not Path("/tmp/let-go" if i == 7 else "/tmp/go").exists():
        time.sleep(0.1)
    return {"value": i * 2.0}
"""
STRAGGLER = """name: straggler
run: trial.fit:one_is_long
parameters: {i: {range: [0, 30, 1]}}
"""
GRID = """\
name: gated
run: trial.fit:fit
parameters: {i: {range: [0, 60, 1]}}
execution: {bundle: 1}
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up and has its code, pushed while the head was not yet to be reached."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        folder = laptop.path / "trial"
        folder.mkdir()
        (folder / "fit.py").write_text(FIT)
        (folder / "grid.yaml").write_text(GRID)
        (folder / "straggler.yaml").write_text(STRAGGLER)
        laptop.commit("A sweep that waits until it is let go")
        head = cloud.machine(laptop.up().head_id)
        laptop.lend_environment()
        head.wait_running().partition()
        push = laptop.start("push")
        laptop.first_said = next(line for line in iter(push.stdout.readline, "") if line.startswith("Waiting"))
        head.heal()
        said = push.communicate(timeout=900)[0]
        assert push.returncode == 0, said
        assert "The cluster's release is" in said
        yield laptop


@pytest.fixture
def started(laptop: Laptop) -> list[str]:
    """Two workers that have joined, by id."""
    ids = workers(laptop)
    if len(ids) != 2 or "has not joined" in laptop.inv("status").stdout:
        laptop.inv("start", "--workers", "2")
    return workers(laptop)


def head_of(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


def workers(laptop: Laptop) -> list[str]:
    """The ids of the group's instances that AWS wants to run."""
    answer = laptop.cloud.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[laptop.outputs.worker_group]
    )
    found = answer["AutoScalingGroups"][0]["Instances"]
    return sorted(one["InstanceId"] for one in found if one["LifecycleState"] in ("Pending", "InService"))


def no_workers(laptop: Laptop) -> None:
    laptop.inv("scale", "0")
    until(lambda: set(laptop.cloud.machines()) == {laptop.outputs.head_id}, what="all workers gone", timeout_s=120)


def objects(laptop: Laptop, prefix: str) -> dict[str, Any]:
    """Every version of every object below a prefix that a push stores."""
    answer = laptop.cloud.client("s3").list_object_versions(Bucket=laptop.outputs.bucket, Prefix=prefix)
    found = {one["VersionId"]: (one["Key"], one["ETag"]) for one in answer.get("Versions", ())}
    return {version: one for version, one in found.items() if one[0] != "releases/fleet.json"}  # the head's own


def stored(laptop: Laptop) -> dict[str, Any]:
    return objects(laptop, "releases/") | objects(laptop, "environments/")


def sent(laptop: Laptop) -> int:
    """Bytes that the laptop has sent so far, to whomever."""
    lines = laptop.cloud.laptop.run(["cat", "/proc/net/dev"]).stdout.splitlines()[2:]
    return sum(int(line.split(":")[1].split()[8]) for line in lines if not line.strip().startswith("lo:"))


def received(machine: MachineHandle) -> int:
    lines = machine.run(["cat", "/proc/net/dev"]).stdout.splitlines()[2:]
    return sum(int(line.split(":")[1].split()[0]) for line in lines if not line.strip().startswith("lo:"))


def logins(laptop: Laptop) -> int:
    """How often the head has let somebody in."""
    return head_of(laptop).journal("-u", "ssh", "-o", "cat").count("Accepted publickey")


def change(laptop: Laptop, file: str, text: str) -> str:
    """Append to a file and commit it; the commit."""
    path = laptop.path / file
    path.write_text(path.read_text() + text)
    return laptop.commit(f"Change {file}")


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a task still says once Ctrl-C is typed; it must end with 130."""
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 130, said
    return str(said)


def rows(laptop: Laptop) -> pl.DataFrame:
    return pl.read_parquet(laptop.path / "runs" / "gated" / "results.parquet")


# Push


def test_a_head_that_does_not_answer_yet_is_waited_for(laptop: Laptop) -> None:
    """`laptop` itself pushed to one that was off the network."""
    assert laptop.first_said.startswith("Waiting for the head, 300 s at most. ")


def test_a_head_that_never_comes_is_given_up_with_what_its_boot_said(laptop: Laptop) -> None:
    outputs, s3 = laptop.outputs, laptop.cloud.client("s3")
    key = f"hosts/{outputs.head_identity}/ssh_host_ed25519_key.pub"
    published = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=outputs.bucket, Key=key)
    commit = change(laptop, "README.md", "\n")
    try:
        said = laptop.inv("push", "--timeout", "1", code=3).stderr
    finally:
        s3.put_object(Bucket=outputs.bucket, Key=key, Body=published)
        laptop.git("reset", "-q", "--hard", f"{commit}~1")
    assert f"The machine {outputs.head_id} has not published its host key yet" in said
    assert f"The last lines of the console of {outputs.head_id}:" in said
    assert said.splitlines()[-1] in head_of(laptop).console()


def test_the_same_again_sends_nothing(laptop: Laptop) -> None:
    """Nobody even logs in: the laptop asks the bucket for a note of a kilobyte, and that is all."""
    before = (stored(laptop), logins(laptop))
    bytes_before = sent(laptop)
    assert "has this release already" in laptop.inv("push").stdout
    questions = sent(laptop) - bytes_before
    assert (stored(laptop), logins(laptop)) == before
    assert 0 < questions < 8192  # one request to S3, and the packets that acknowledge its answer


def test_changed_files_are_refused_unless_it_is_said(laptop: Laptop) -> None:
    readme = laptop.path / "README.md"
    before = readme.read_text()
    readme.write_text(before + "\n")
    try:
        assert "Changed and not committed: README.md" in laptop.inv("push", code=2).stderr
    finally:
        readme.write_text(before)


def test_a_changed_file_goes_alone_and_the_environment_stays(laptop: Laptop) -> None:
    """Not built anew, not stored anew, not fetched anew; and the release before is one step away."""
    head = head_of(laptop)
    inode = "stat -L -c '%i %Y' /opt/sweepfleet/environment"
    before = (objects(laptop, "environments/"), head.run(["sh", "-c", inode]).stdout)
    bytes_before = received(head)
    commit = change(laptop, "README.md", "\nOne more line.\n")
    said = laptop.inv("push").stdout
    assert f"Sending {commit[:10]}, " in said
    assert "The head is building the environment" not in said
    assert (objects(laptop, "environments/"), head.run(["sh", "-c", inode]).stdout) == before
    archives = laptop.cloud.client("s3").list_objects_v2(Bucket=laptop.outputs.bucket, Prefix="releases/")
    largest = max(one["Size"] for one in archives["Contents"])
    assert received(head) - bytes_before < 2 * largest + 1_000_000
    listed = laptop.inv("releases").stdout.splitlines()
    assert listed[0].startswith(f"* {commit[:10]}  pushed ")
    assert listed[1].startswith("  ")


def test_a_release_before_is_taken_up_again(laptop: Laptop) -> None:
    """The one before, or one that is named; also when the head has thrown it away. What is not there is said."""
    now, before = (line.split()[-1] for line in laptop.inv("releases").stdout.splitlines()[:2])
    assert " again." in laptop.inv("push", "--rollback").stdout
    assert current(laptop).startswith(before)
    assert "has this release already" in laptop.inv("push", "--rollback", "--to", before).stdout
    head_of(laptop).run(["sh", "-c", f"rm -r /opt/sweepfleet/releases/{now}*"])
    bytes_before = sent(laptop)
    laptop.inv("push", "--rollback", "--to", now)
    assert current(laptop).startswith(now)
    assert sent(laptop) - bytes_before < 100_000  # words over SSH: the head has it from the bucket
    until(lambda: running_release(laptop).startswith(now), what="the head runs it", timeout_s=PATIENCE_S)
    said = laptop.inv("push", "--rollback", "--to", "0123456789", code=2).stderr
    assert "No releases begin with '0123456789'. List them: inv releases" in said


def current(laptop: Laptop) -> str:
    """The release that the bucket names."""
    body = laptop.cloud.client("s3").get_object(Bucket=laptop.outputs.bucket, Key="releases/current.json")["Body"]
    return str(json.loads(body.read())["release"]["sha256"])


def running_release(laptop: Laptop) -> str:
    """The release that the head has taken up."""
    return Path(head_of(laptop).run(["readlink", "/opt/sweepfleet/current"]).stdout.strip()).name


# Looking at it, and going there


def test_a_command_on_the_head_has_its_own_output_and_exit_code(laptop: Laptop) -> None:
    """Also bytes that are no text, what it says on standard error, and the signal that ended it."""
    command = [sys.executable, "-m", "invoke", "run", "--", "printf '\\377\\000x'; echo trouble >&2; exit 7"]
    process = laptop.cloud.laptop.popen(
        command, cwd=laptop.path, env=laptop.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.communicate(timeout=PATIENCE_S) == (b"\xff\x00x", b"trouble\n")
    assert process.returncode == 7
    laptop.inv("run", "--", "kill -9 $$", code=137)
    assert laptop.inv("run", "--", "echo", "$HOME  two").stdout == "$HOME  two\n"


def test_a_command_ends_with_ctrl_c_here(laptop: Laptop) -> None:
    """And so do its children: nothing stays behind on the head."""
    process = laptop.start("run", "--", "echo begun; sleep 4321; echo ended")
    assert process.stdout.readline() == "begun\n"
    assert interrupted(process) == ""
    until(lambda: not running(head_of(laptop), "sleep 4321"), what="the command has ended", timeout_s=PATIENCE_S)


def test_a_line_that_is_dead_is_noticed(laptop: Laptop) -> None:
    """Nobody says that it is; the other side just does not answer any more."""
    process = laptop.start("run", "--", "echo begun; sleep 4321")
    assert process.stdout.readline() == "begun\n"
    head = head_of(laptop)
    head.partition()
    try:
        said = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        head.heal()
    assert process.returncode == 3, said
    assert "the connection broke" in said
    head.run(["pkill", "-f", "^(sleep 4321|.*/sleep 4321)"])


def test_a_journal_is_followed_until_ctrl_c(laptop: Laptop) -> None:
    process = laptop.start("logs", "--follow", "--lines", "1")
    assert "sweepfleet" in process.stdout.readline() or process.poll() is None
    until(lambda: running(head_of(laptop), "journalctl"), what="it follows", timeout_s=PATIENCE_S)
    assert "Traceback" not in interrupted(process)
    until(lambda: not running(head_of(laptop), "journalctl"), what="nobody follows", timeout_s=PATIENCE_S)


def test_ssh_is_the_real_one_to_the_published_key_alone(laptop: Laptop, started: list[str]) -> None:
    """With what comes on standard input, or with a terminal; to the head, or through it to a worker."""
    for words, machine in (((), head_of(laptop)), (("--worker", started[0]), laptop.cloud.machine(started[0]))):
        done = typed(laptop, ["invoke", "ssh", *words], "hostname; exit 5\n")
        assert done.returncode == 5, done.stderr
        assert machine.run(["hostname"]).stdout in done.stdout
        line = f"{sys.executable} -m invoke ssh {' '.join(words)}"
        command = ["script", "-qec", line, "/dev/null"]
        seen = laptop.cloud.laptop.run(
            command, cwd=laptop.path, env=laptop.env, text="tty; exit 6\n", check=False, timeout_s=PATIENCE_S
        )
        assert seen.returncode == 6, seen.stdout
        assert "/dev/pts/" in seen.stdout
    outputs, s3 = laptop.outputs, laptop.cloud.client("s3")
    key = f"hosts/{outputs.head_identity}/ssh_host_ed25519_key.pub"
    published = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=outputs.bucket, Key=key, Body=laptop.public_key.encode())
    try:
        for words in ((), ("--worker", started[0])):
            refused = typed(laptop, ["invoke", "ssh", *words], "hostname\n")
            assert refused.returncode == 255
            assert "Host key verification failed" in refused.stderr
    finally:
        s3.put_object(Bucket=outputs.bucket, Key=key, Body=published)


def test_the_stack_s_key_is_used_by_any_name_and_one_with_a_passphrase_through_the_agent(laptop: Laptop) -> None:
    key = laptop.home / ".ssh" / "id_ed25519"
    mine = key.with_name("my.cluster")
    for ending in ("", ".pub"):
        key.with_name(f"{key.name}{ending}").rename(f"{mine}{ending}")
    change_passphrase = ["ssh-keygen", "-q", "-p", "-f", str(mine)]
    try:
        assert laptop.inv("run", "--", "echo let in").stdout == "let in\n"
        assert typed(laptop, ["invoke", "ssh"], "echo let in\n").stdout.endswith("let in\n")
        subprocess.run([*change_passphrase, "-P", "", "-N", "secret"], check=True)
        assert "ssh-add" in laptop.inv("run", "--", "true", code=3).stderr
        if engine.installed():  # doctor asks Pulumi which key is the stack's
            assert f"ssh-add {mine}" in laptop.inv("doctor", code=None).stdout
        script = f"ssh-add {mine} </dev/null && {sys.executable} -m invoke run -- 'echo in'"
        asking = laptop.home / "asking"
        asking.write_text("#!/bin/sh\necho secret\n")
        asking.chmod(0o755)
        env = laptop.env | {"SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force"}
        done = laptop.cloud.laptop.run(["ssh-agent", "sh", "-c", script], cwd=laptop.path, env=env)
        assert done.stdout.endswith("in\n")
    finally:
        subprocess.run([*change_passphrase, "-P", "secret", "-N", ""], check=False)
        for ending in ("", ".pub"):
            Path(f"{mine}{ending}").rename(key.with_name(f"{key.name}{ending}"))


def test_the_dashboard_comes_through_the_tunnel_alone(laptop: Laptop, started: list[str]) -> None:
    """Its pages are there; no machine serves HTTP to others; a port that is taken is another one or an error."""
    first = laptop.start("dashboard")
    url = first.stdout.readline().split()[0]
    assert url == "http://127.0.0.1:8787/status"
    page = fetch(laptop, url)
    assert page.startswith("200 ")
    assert "bokeh" in page.lower()
    second = laptop.start("dashboard")
    assert second.stdout.readline().startswith("http://127.0.0.1:8788/status")
    assert "The port 8787 of this machine is not free" in laptop.inv("dashboard", "--port", "8787", code=2).stderr
    assert interrupted(first) == ""
    assert interrupted(second) == ""
    assert fetch(laptop, url).startswith("refused")
    for machine in (head_of(laptop), *map(laptop.cloud.machine, started)):
        assert listening(machine) <= {22, 8786, *range(40000, 40128)}


def test_something_on_all_workers_is_tried_on_all(laptop: Laptop, started: list[str]) -> None:
    """One that cannot be reached does not keep the others from it, and is one failure at the end."""
    said = laptop.inv("run", "--workers", "--", "hostname").stdout
    assert sorted(line.split()[0] for line in said.splitlines()) == [f"[{one}]" for one in started]
    laptop.inv("run", "--workers", "--", "exit 9", code=9)
    lost, other = started
    machine = laptop.cloud.machine(lost)
    machine.run(["systemctl", "stop", "ssh"])
    try:
        done = laptop.inv("logs", "--workers", "--lines", "1", code=3)
    finally:
        machine.run(["systemctl", "start", "ssh"])
    assert f"[{other}] " in done.stdout
    assert f"[{lost}] The worker {lost} does not answer on port 22" in done.stderr
    assert f"Failed on 1 of 2 workers: {lost} (no answer)" in done.stderr


def test_the_journals_of_all_workers_are_followed_until_ctrl_c(laptop: Laptop, started: list[str]) -> None:
    process = laptop.start("logs", "--workers", "--follow", "--lines", "1")
    assert process.stdout.readline().startswith("[i-")
    machines = list(map(laptop.cloud.machine, started))
    until(lambda: all(running(one, "journalctl") for one in machines), what="it follows", timeout_s=PATIENCE_S)
    assert "Traceback" not in interrupted(process)
    until(lambda: not any(running(one, "journalctl") for one in machines), what="nobody", timeout_s=PATIENCE_S)


def test_a_worker_is_named_by_the_beginning_of_its_id(laptop: Laptop, started: list[str]) -> None:
    assert laptop.inv("run", "--worker", started[0][:12], "--", "hostname").stdout.startswith("ip-10-42-")
    assert "await-release" in laptop.inv("logs", "--worker", started[0], "--lines", "500").stdout
    said = laptop.inv("run", "--worker", "i-", "--", "hostname", code=2).stderr
    assert "2 workers have an id that begins with 'i-'" in said
    assert started[1] in said


def typed(laptop: Laptop, words: list[str], text: str) -> subprocess.CompletedProcess[str]:
    """A module run with something typed into it."""
    command = [sys.executable, "-m", *words]
    return laptop.cloud.laptop.run(
        command, cwd=laptop.path, env=laptop.env, text=text, check=False, timeout_s=PATIENCE_S
    )


def running(machine: MachineHandle, words: str) -> bool:
    return machine.run(["pgrep", "-f", f"^({words}|.*/{words})"], check=False).returncode == 0


FETCH = """
import sys, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=60)
    print(answer.status, answer.read().decode())
except OSError as error:
    print("refused", error)
"""


def fetch(laptop: Laptop, url: str) -> str:
    """What a browser on the laptop gets: the status and the page."""
    return laptop.cloud.laptop.run([sys.executable, "-c", FETCH, url]).stdout


def listening(machine: MachineHandle) -> set[int]:
    """The TCP ports that others can reach on a machine."""
    lines = machine.run(["ss", "-Hltn"]).stdout.splitlines()
    addresses = [line.split()[3].rpartition(":") for line in lines]
    return {int(port) for host, _, port in addresses if not host.startswith(("127.", "[::1]"))}


# Start, scale, stop


def test_workers_come_are_shown_and_go(laptop: Laptop, started: list[str]) -> None:
    """`start` returns when they can be used; `scale` asks for more or fewer; `stop` sends all home."""
    lines = laptop.inv("status").stdout.splitlines()
    assert lines[0] == "Stack dev in us-east-1"
    assert lines[1].startswith("Release: ")
    assert lines[2] == "Workers: 2 of 2 requested, at most 3"
    for name, line in zip(started, lines[3:5], strict=True):
        assert line.startswith(f"  {name}  c7")
        assert " spot  us-east-1" in line
        assert line.endswith(" slots")
    assert "scheduler active, signer active, keeper active" in lines[5]
    said = laptop.inv("scale", "4", code=2).stderr
    assert (
        "4 workers cannot be requested: the stack allows 0 to 3. For more: pulumi config set maxWorkers 4, "
        "then inv up" in said
    )
    laptop.inv("scale", "1")
    until(lambda: len(workers(laptop)) == 1, what="one worker", timeout_s=PATIENCE_S)
    laptop.inv("stop")
    until(lambda: workers(laptop) == [], what="no worker", timeout_s=PATIENCE_S)
    until(lambda: len(laptop.cloud.machines()) == 1, what="no machine but the head", timeout_s=PATIENCE_S)


def test_workers_that_have_nothing_left_go_while_another_computes(laptop: Laptop) -> None:
    """A sweep of long points asks for all, and its last point for one; the machine that runs it stays."""
    no_workers(laptop)
    laptop.inv("push")
    laptop.inv("sweep", "--grid", "trial/straggler.yaml", "--detach")
    until(lambda: laptop.inv("status").stdout.count("  2 slots") == 3, what="three workers", timeout_s=PATIENCE_S)
    there = workers(laptop)
    for name in there:
        laptop.cloud.machine(name).run(["touch", "/tmp/go"])  # noqa: S108
    until(lambda: points_done(laptop, "straggler") == 29, what="one is left", timeout_s=PATIENCE_S)
    [stays] = until(
        lambda: (now := workers(laptop)) and len(now) == 1 and now, what="one worker", timeout_s=PATIENCE_S
    )
    said = laptop.inv("status").stdout
    assert "29 of 30 points" in said
    assert re.search(r"cost so far (<0\.0+1|0\.\d+) USD, of a budget of 100", said), said
    assert "USD an hour" in said
    said = laptop.inv("cost", "--since", "1d").stdout
    assert re.search(r"workers +(<0\.0+1|0\.\d*[1-9]\d*) USD .*\n( +and .* of an unknown price\n)? +head +", said), (
        said
    )
    assert "Run straggler: cost so far" in said
    laptop.cloud.machine(stays).run(["touch", "/tmp/let-go"])  # noqa: S108
    assert "30 of 30 points done" in laptop.inv("attach", "--name", "straggler").stdout
    table = pl.read_parquet(laptop.path / "runs" / "straggler" / "results.parquet")
    assert table["infra_losses"].sum() == 0
    [ran] = table.filter(pl.col("param.i") == 7)["worker"]
    assert ran.partition("/")[0] == laptop.cloud.machine(stays).run(["hostname"]).stdout.strip()


def test_workers_go_also_when_the_head_cannot_be_told(laptop: Laptop, started: list[str]) -> None:
    """Somebody pays for them, whatever has become of it."""
    head = head_of(laptop)
    head.run(["systemctl", "stop", "ssh", "sweepfleet-keeper"])
    try:
        assert "To shut down the workers without the head: inv stop --yes" in laptop.inv("stop", code=3).stderr
        assert workers(laptop) == started
        said = laptop.inv("stop", "--yes", code=3).stderr
        assert "does not answer on port 22" in said
        assert "AWS was told to shut down all workers" in said
        until(lambda: workers(laptop) == [], what="no worker", timeout_s=PATIENCE_S)
    finally:
        head.run(["systemctl", "start", "ssh", "sweepfleet-keeper"])


def test_no_capacity_is_said_in_awss_words(laptop: Laptop) -> None:
    no_workers(laptop)
    laptop.cloud.refuse_capacity()
    try:
        done = laptop.inv("start", "--timeout", "5", code=3)
    finally:
        laptop.cloud.restore_capacity()
        no_workers(laptop)
    for said in (done.stdout, done.stderr):
        assert "AWS says: " in said
        assert "Add types to workerInstanceTypes" in said
    assert "0 of 1 worker joined in 5 s" in done.stderr
    assert "Cancel it: inv scale 0" in done.stderr


def test_on_demand_takes_the_place_of_spot_that_fails_and_hands_back_while_the_run_is_active(laptop: Laptop) -> None:
    """It is said to whoever waits. The on-demand worker ends what it has, and spot has the rest."""
    client, outputs = laptop.cloud.client("autoscaling"), laptop.outputs

    def members(group: str) -> list[str]:
        [found] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return [one["InstanceId"] for one in found["Instances"]]

    def patience(seconds: str) -> None:
        tag = {"ResourceId": outputs.on_demand_group, "ResourceType": "auto-scaling-group", "Key": PATIENCE_TAG}
        client.create_or_update_tags(Tags=[tag | {"Value": seconds, "PropagateAtLaunch": False}])

    def on_demand() -> MachineHandle | None:
        return next(map(laptop.cloud.machine, members(outputs.on_demand_group)), None)

    def joined(name: str) -> bool:
        return f"  {name}  " in (said := laptop.inv("status").stdout) and "has not joined" not in said

    no_workers(laptop)
    patience("20")
    laptop.cloud.refuse_capacity(market="spot")
    try:
        sweep = laptop.start("sweep", "--grid", "trial/straggler.yaml", "--workers", "1", "--name", "spare")
        machine = until(on_demand, what="an on-demand worker", timeout_s=PATIENCE_S)
        until(lambda: joined(machine.instance_id), what="it has joined", timeout_s=PATIENCE_S)
        assert "1 on-demand worker in place of spot instances" in laptop.inv("status").stdout
        laptop.cloud.restore_capacity()
        [name] = until(lambda: members(outputs.worker_group), what="a spot instance", timeout_s=PATIENCE_S)
        replaced = f"spot has replaced the on-demand worker {machine.instance_id}"
        journal = lambda: head_of(laptop).journal("-u", "sweepfleet-keeper", "-o", "cat")  # noqa: E731
        until(lambda: replaced in journal(), what="spot has joined", timeout_s=PATIENCE_S)
        assert members(outputs.on_demand_group) == [machine.instance_id], "it computes"
        for one in (machine, laptop.cloud.machine(name)):
            one.run(["touch", GO])
        until(lambda: not members(outputs.on_demand_group), what="it is handed back", timeout_s=PATIENCE_S)
        assert sweep.poll() is None, "one point is computed still"
        laptop.cloud.machine(name).run(["touch", LET_GO])
        said = sweep.communicate(timeout=PATIENCE_S)[0]
    finally:
        laptop.cloud.restore_capacity()
        patience("600")
    assert sweep.returncode == 0, said
    assert "AWS starts too few workers: Could not launch Spot Instances." in said
    assert "1 on-demand worker in place of spot instances" in said
    table = pl.read_parquet(laptop.path / "runs" / "spare" / "results.parquet")
    assert len(table) == 30
    assert set(table["status"]) == {"done"}
    assert table["infra_losses"].sum() == 0
    note = laptop.cloud.client("s3").get_object(Bucket=outputs.bucket, Key="outbox/runs/spare.json")["Body"].read()
    assert "in place of spot instances" in note.decode()


def test_a_worker_that_cannot_join_is_asked_why(laptop: Laptop) -> None:
    """Here, the head gives no certificates."""
    no_workers(laptop)
    head_of(laptop).run(["systemctl", "stop", "sweepfleet-signer"])
    laptop.inv("scale", "1")
    [name] = until(lambda: workers(laptop), what="a worker", timeout_s=PATIENCE_S)
    machine = laptop.cloud.machine(name).wait_booted(timeout_s=PATIENCE_S)
    asked = "asked the head for a certificate"
    until(lambda: asked in machine.journal("-u", "sweepfleet-*"), what="it asks", timeout_s=PATIENCE_S)
    try:
        process = laptop.start("start")
        assert any(line.startswith("0 of 1 worker joined") for line in process.stdout)
        assert "The request stays active. Cancel it: inv scale 0" in interrupted(process)
        said = laptop.inv("start", "--timeout", "1", code=3).stderr
    finally:
        head_of(laptop).run(["systemctl", "start", "sweepfleet-signer"])
    assert "0 of 1 worker joined in 1 s" in said
    assert f"The last lines of the worker {name}:" in said
    assert asked in said
    assert "1 of 1 worker joined, 2 slots" in laptop.inv("start").stdout


def test_a_worker_that_cannot_even_boot_is_known_by_its_console(laptop: Laptop) -> None:
    """Its role is not there, so it can publish no key, and nobody goes to a machine without one."""
    no_workers(laptop)
    laptop.inv("scale", "1")
    [name] = until(lambda: workers(laptop), what="a worker", timeout_s=PATIENCE_S)
    machine = laptop.cloud.machine(name).wait_running()  # the group has it before the rig does
    machine.imds_fault(status=500)
    try:
        until(lambda: "cloud-init[" in machine.console(), what="its boot says something", timeout_s=PATIENCE_S)
        said = laptop.inv("start", "--timeout", "1", code=3).stderr
        console = machine.console()
    finally:
        machine.imds_fault()
        no_workers(laptop)
    assert f"The worker {name} does not answer: The machine {name} has not published its host key yet" in said
    assert f"The last lines of the console of {name}:" in said
    assert set(readable(console)) & set(said.partition(f"{name}:\n")[2].splitlines())


# Releases and runs


def test_a_run_keeps_its_release_whatever_is_pushed(laptop: Laptop) -> None:
    """Its driver may die, workers may come: all run the code that it began with. The next run has the newest."""
    no_workers(laptop)
    old = laptop.git("rev-parse", "HEAD").strip()
    laptop.inv("push")
    laptop.inv("sweep", "--grid", "trial/grid.yaml", "--workers", "1", "--detach")
    until(lambda: "Run gated: running" in laptop.inv("status").stdout, what="it runs", timeout_s=PATIENCE_S)
    [first] = workers(laptop)
    new = change(laptop, "src/sweepfleet/grid/errors.py", "\n# Changed.\n")
    laptop.inv("push")
    until(lambda: new[:10] in laptop.inv("status").stdout, what="pushed", timeout_s=PATIENCE_S)
    assert "scheduler and workers run the code of" in laptop.inv("status").stdout
    assert "Active runs: gated. To stop them, too: inv stop --yes" in laptop.inv("stop", code=2).stderr
    assert workers(laptop) == [first]
    driver = "sweepfleet-run@gated.service"
    head_of(laptop).run(["systemctl", "kill", "-s", "KILL", driver])
    laptop.inv("start", "--workers", "2")
    [second] = set(workers(laptop)) - {first}
    laptop.cloud.machine(second).run(["touch", "/tmp/go"])  # noqa: S108
    until(lambda: points_done(laptop, "gated") > 4, what="the new worker has run some", timeout_s=PATIENCE_S)
    laptop.cloud.machine(first).run(["touch", "/tmp/go"])  # noqa: S108
    assert "60 of 60 points done" in laptop.inv("attach").stdout
    table = rows(laptop)
    assert set(table["git_commit"]) == {old}
    joined = laptop.cloud.machine(second)
    assert joined.run(["hostname"]).stdout.strip() in {slot.partition("/")[0] for slot in table["worker"]}
    assert "and so does this worker" in joined.journal("-u", "sweepfleet-*")
    assert manifest(laptop, "gated")["git_commit"] == old

    laptop.inv("sweep", "--grid", "trial/grid.yaml", "--set", "i=100,101,102", "--name", "next")
    table = pl.read_parquet(laptop.path / "runs" / "next" / "results.parquet")
    assert set(table["git_commit"]) == {new}
    assert "run the code of" not in laptop.inv("status").stdout


def test_stop_keeps_what_a_run_has_done(laptop: Laptop, started: list[str]) -> None:
    """And a dirty tree's run says that it was one."""
    for name in started:
        laptop.cloud.machine(name).run(["touch", "/tmp/go"])  # noqa: S108
    path = laptop.path / "trial" / "fit.py"
    path.write_text(path.read_text().replace("sleep(0.2)", "sleep(1.0)"))
    assert "with changes now" in laptop.inv("push", "--dirty").stdout
    laptop.inv("sweep", "--grid", "trial/grid.yaml", "--name", "stopped", "--detach")
    until(lambda: points_done(laptop, "stopped") > 4, what="some points are done", timeout_s=PATIENCE_S)
    assert "Stopped stopped" in laptop.inv("stop", "--yes").stdout
    until(lambda: workers(laptop) == [], what="no worker", timeout_s=PATIENCE_S)
    laptop.inv("results", "--fetch", "--name", "stopped")
    folder = laptop.path / "runs" / "stopped"
    summary = json.loads((folder / "summary.json").read_text())
    assert 4 < summary["done"] < 60
    assert summary["failed"] == 0
    assert manifest(laptop, "stopped")["git_dirty"] is True
    laptop.git("checkout", "-q", "trial/fit.py")


def is_called(laptop: Laptop, name: str) -> None:
    """Whose checkout it is, as Git knows it."""
    laptop.git("config", "user.name", name)
    laptop.git("config", "user.email", f"{name.lower()}@example.org")


def test_a_sweep_of_other_code_than_the_clusters_is_refused_or_pushed_first(laptop: Laptop) -> None:
    """In a script, which nobody can be asked in; and a push says whose newer code it would replace."""
    is_called(laptop, "Ada")
    laptop.inv("push", code=None)
    there = laptop.git("rev-parse", "HEAD").strip()
    here = change(laptop, "trial/fit.py", "\n# Ada's.\n")
    sweep = ("sweep", "--grid", "trial/grid.yaml", "--set", "i=100,101")
    said = laptop.inv(*sweep, "--name", "meant", code=2).stderr
    assert f"The release on stack dev is {there[:10]}, pushed " in said
    assert f"This checkout is {here[:10]}. Files of the target that differ: trial/fit.py." in said
    assert "The cluster has no run meant" in laptop.inv("attach", "--name", "meant", code=2).stderr
    laptop.inv(*sweep, "--name", "as-pushed", "--as-pushed")
    assert manifest(laptop, "as-pushed")["git_commit"] == there
    laptop.inv(*sweep, "--name", "meant", "--push")
    assert manifest(laptop, "meant")["git_commit"] == here
    laptop.git("reset", "-q", "--hard", there)
    is_called(laptop, "Bob")
    mine = change(laptop, "README.md", "\nBob's.\n")
    said = laptop.inv("push", code=2).stderr
    assert f"The cluster's release {here[:10]} was pushed " in said
    assert "by Ada <ada@example.org>" in said
    assert here[:10] in laptop.inv("status").stdout, "nothing was replaced"
    laptop.inv("push", "--yes")
    [listed] = [line for line in laptop.inv("releases").stdout.splitlines() if line.startswith("* ")]
    assert listed.startswith(f"* {mine[:10]}  pushed ")
    assert " by Bob <bob@example.org> (" in listed


def points_done(laptop: Laptop, name: str) -> int:
    text = head_of(laptop).run(["cat", f"/srv/sweepfleet/jobs/{name}/progress.json"], check=False).stdout
    progress = json.loads(text or "{}").get("progress") or {}
    return int(progress.get("done", 0))


def manifest(laptop: Laptop, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((laptop.path / "runs" / name / "manifest.json").read_text())
    return found
