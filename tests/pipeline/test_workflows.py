"""The pipeline's workflows: what they may do, and that the linters in `inv check` catch one that may too much."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.context import MockContext
from invoke.exceptions import Exit
from invoke.runners import Result

from sweepfleet.account.commands import variables
from sweepfleet.account.settings import KEYS
from sweepfleet.account.trust import AUDIENCE
from tests import developer_tasks as project

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
GITLAB = REPOSITORY / "docs" / "examples" / "gitlab-ci.yml"
TOOLS = Path(sys.executable).parent
VARIABLES = set(variables(region="", backend="", deploy_role="", preview_role=""))
# https://docs.gitlab.com/ci/yaml/: what the example needs of it
GITLAB_GLOBAL = {"stages", "default", "variables", "image", "timeout", "interruptible"}
GITLAB_JOB = {
    *("extends", "stage", "script", "before_script", "rules", "needs", "variables", "artifacts", "id_tokens"),
    *("environment", "resource_group", "timeout"),
}


def jobs() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Every job: its workflow's name, its own, the workflow and the job."""
    for file in WORKFLOWS:
        workflow = yaml.safe_load(file.read_text())
        for name, job in workflow["jobs"].items():
            yield file.stem, name, workflow, job


JOBS = {f"{workflow}:{name}": (whole, job) for workflow, name, whole, job in jobs()}
each_job = pytest.mark.parametrize("name", JOBS)


def lines(job: dict[str, Any]) -> list[str]:
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


def role(job: dict[str, Any]) -> str:
    """The variable that names the job's role in AWS; empty for a job without."""
    given = [step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})]
    return re.fullmatch(r"\$\{\{ vars\.(\w+) \}\}", given[0])[1] if given else ""


def tasks(script: list[str]) -> list[str]:
    """The invoke tasks in a script."""
    return [words[words.index("inv") + 1] for line in script if "inv" in (words := shlex.split(line))]


def test_these_are_the_pipeline_s_jobs() -> None:
    assert {name: (tasks(lines(job)), role(job)) for name, (_, job) in JOBS.items()} == {
        "check:check": (["check"], ""),
        "pull-request:plan": (["ci.preview"], "PREVIEW_ROLE"),
        "deploy:deploy": (["ci.deploy"], "DEPLOY_ROLE"),
        "deploy:sweeps": (["ci.sweeps"], "DEPLOY_ROLE"),
        "results:results": (["ci.results"], "DEPLOY_ROLE"),
        "nightly:drift": (["ci.drift"], "PREVIEW_ROLE"),
        "nightly:audit": (["ci.audit"], "PREVIEW_ROLE"),
    }


def test_every_task_that_a_job_calls_exists_with_the_flags_it_is_given() -> None:
    for name, (_, job) in JOBS.items():
        for task in tasks(lines(job)):
            done = subprocess.run(
                [sys.executable, "-m", "invoke", "--help", task],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (name, done.stderr)
            assert ("--stack" in done.stdout) == (task != "check"), name


@each_job
def test_a_job_may_no_more_than_it_says(name: str) -> None:
    """Nothing by default; code to read; to write, what its one text needs; a token for AWS where there is a role."""
    workflow, job = JOBS[name]
    assert workflow["permissions"] == {}
    writing = {"pull-request:plan": {"pull-requests": "write"}}.get(name, {})
    writing = {"issues": "write"} if name.startswith("nightly") else writing
    identity = {"id-token": "write"} if role(job) else {}
    assert job["permissions"] == {"contents": "read", **identity, **writing}


@each_job
def test_a_job_ends_and_keeps_no_credentials_and_no_cache(name: str) -> None:
    _, job = JOBS[name]
    assert 0 < job["timeout-minutes"] <= 90
    (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["persist-credentials"] is False
    (uv,) = [step for step in job["steps"] if step.get("uses", "").startswith("astral-sh/setup-uv@")]
    assert uv["with"]["enable-cache"] is False


@each_job
def test_no_text_of_anybody_is_in_a_shell_line_or_comes_to_a_job_by_its_environment(name: str) -> None:
    """Expressions are put into a shell line before the shell reads it; none is there, whosever text it would be."""
    _, job = JOBS[name]
    assert not [line for line in lines(job) if "${{" in line]
    given = [value for step in (job, *job["steps"]) for value in step.get("env", {}).values()]
    assert set(given) <= {"${{ github.token }}", "${{ vars.PULUMI_BACKEND_URL }}", "${{ vars.STACK }}"}


def test_no_secret_is_kept_anywhere() -> None:
    for file in (*WORKFLOWS, GITLAB):
        text = file.read_text()
        assert "secrets." not in text
        assert "ACCESS_KEY" not in text


def test_every_action_is_pinned_by_its_commit_and_says_which_version_that_is() -> None:
    used = [line for file in WORKFLOWS for line in file.read_text().splitlines() if "uses:" in line]
    assert len(used) > 20
    pins: dict[str, set[str]] = {}
    for line in used:
        match = re.fullmatch(r" +- uses: ([\w.-]+/[\w.-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
        assert match, line
        pins.setdefault(match[1], set()).add(match[2])
    assert {action for action, pin in pins.items() if len(pin) > 1} == set()


def test_the_workflows_read_the_variables_that_the_bootstrap_stack_gives() -> None:
    used = {name for file in WORKFLOWS for name in re.findall(r"vars\.(\w+)", file.read_text())}
    assert used == VARIABLES


def test_what_deploys_is_on_main_in_the_environment_and_is_never_cancelled() -> None:
    for name, (workflow, job) in JOBS.items():
        triggers = workflow[True]  # YAML 1.1 reads `on` so
        if role(job) == "DEPLOY_ROLE":
            assert job["environment"] == KEYS["environment"].default, name
            assert workflow["concurrency"]["cancel-in-progress"] is False, name
            assert "pull_request" not in triggers, name
            if "push" in triggers:
                assert triggers["push"] == {"branches": [KEYS["branch"].default]}, name
        else:
            assert "environment" not in job, name


def test_a_fork_s_pull_request_is_checked_and_gets_nothing_of_aws() -> None:
    workflow, plan = JOBS["pull-request:plan"]
    assert list(workflow[True]) == [
        "pull_request"
    ]  # and not pull_request_target, which runs with this repository's rights
    assert "github.event.pull_request.head.repo.full_name == github.repository" in plan["if"]
    assert "if" not in JOBS["check:check"][1]


@each_job
def test_before_the_account_is_set_up_no_job_needs_it(name: str) -> None:
    _, job = JOBS[name]
    if role(job) and "needs" not in job:
        assert f"vars.{role(job)} != ''" in job["if"]


def test_deployments_of_a_stack_come_one_after_the_other() -> None:
    assert JOBS["deploy:deploy"][0]["concurrency"]["group"] == "stack-${{ vars.STACK }}"
    assert JOBS["deploy:sweeps"][1]["needs"] == "deploy"


# The linters.


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of the workflows alone."""
    shutil.copytree(REPOSITORY / ".github", tmp_path / ".github")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def plant(repository: Path, old: str, new: str) -> None:
    file = repository / ".github" / "workflows" / "deploy.yml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def zizmor(repository: Path) -> subprocess.CompletedProcess[str]:
    command = [TOOLS / "zizmor", *shlex.split(project.ZIZMOR)[1:]]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def actionlint(repository: Path) -> subprocess.CompletedProcess[str]:
    command = project.actionlint()
    if command is None:
        pytest.skip("no actionlint on PATH, and no Go to fetch it with: https://github.com/rhysd/actionlint")
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing_in_ours(repository: Path) -> None:
    done = zizmor(repository)
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing_in_ours(repository: Path) -> None:
    done = actionlint(repository)
    assert done.returncode == 0, done.stdout


DEPLOY = 'run: uv run --locked inv ci.deploy --stack "$STACK"'


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (DEPLOY, 'run: echo "${{ github.event.head_commit.message }}"', "template-injection"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ("          persist-credentials: false\n", "          fetch-depth: 1\n", "artipacked"),
        (
            "permissions:\n      contents: read",
            "permissions: write-all\n    env:\n      A: b",
            "excessive-permissions",
        ),
        ("  push:\n    branches: [main]", "  pull_request_target:", "dangerous-triggers"),
    ],
    ids=["injection", "unpinned", "credentials", "permissions", "trigger"],
)
def test_zizmor_catches_a_workflow_that_may_too_much(repository: Path, old: str, new: str, found: str) -> None:
    plant(repository, old, new)
    done = zizmor(repository)
    assert done.returncode != 0
    assert f"[{found}]" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("needs: deploy", "needs: nowhere", "nowhere"),
        ("id-token: write", "id-tokens: write", "id-tokens"),
        ("vars.PULUMI_BACKEND_URL", "var.PULUMI_BACKEND_URL", "undefined variable"),
        (DEPLOY, 'run: echo "${{ github.event.head_commit.message }}"', "potentially untrusted"),
        ("timeout-minutes: 60", "timeout-minuets: 60", "timeout-minuets"),
    ],
    ids=["job", "permission", "context", "injection", "key"],
)
def test_actionlint_catches_a_workflow_that_github_would_not_take(
    repository: Path, old: str, new: str, found: str
) -> None:
    plant(repository, old, new)
    done = actionlint(repository)
    assert done.returncode != 0
    assert found in done.stdout


class Shell(MockContext):
    """Commands that are not run: those with `bad` in them fail."""

    def __init__(self, bad: str = "") -> None:
        super().__init__(run=True)
        object.__setattr__(self, "ran", [])
        object.__setattr__(self, "bad", bad)

    def run(self, command: str, **_: Any) -> Result:
        self.ran.append(command)
        return Result(exited=int(bool(self.bad) and self.bad in command))


def test_check_runs_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "actionlint", lambda: ["/tools/actionlint"])
    shell = Shell()
    project.check(shell)
    assert [command for command in shell.ran if "zizmor" in command] == [f"{TOOLS}/{project.ZIZMOR}"]
    assert "/tools/actionlint" in shell.ran


@pytest.mark.parametrize("tool", ["zizmor", "actionlint"])
def test_check_fails_when_one_of_them_does(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "actionlint", lambda: ["/tools/actionlint"])
    with pytest.raises(Exit, match=tool):
        project.check(Shell(tool))


def test_check_says_aloud_that_actionlint_was_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    shell = Shell()
    project.check(shell)
    assert "NOT RUN: actionlint." in capsys.readouterr().out
    assert not [command for command in shell.ran if "actionlint" in command]


def test_a_go_that_cannot_fetch_it_is_no_failure_of_the_workflows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project.actionlint() is None


# The example for GitLab.


def gitlab() -> dict[str, Any]:
    """Every job of the example, with what it extends put into it."""
    whole = yaml.safe_load(GITLAB.read_text())
    assert {key for key in whole if key in GITLAB_GLOBAL} == {"stages", "default", "variables"}
    assert set(whole["default"]) <= GITLAB_GLOBAL

    def resolved(name: str) -> dict[str, Any]:
        job = dict(whole[name])
        assert set(job) <= GITLAB_JOB, name
        base = resolved(job["extends"]) if "extends" in job else {}
        merged = {**base, **job}
        merged["variables"] = {**base.get("variables", {}), **job.get("variables", {})}
        return merged

    return {name: resolved(name) for name in whole if name not in GITLAB_GLOBAL and not name.startswith(".")}


def test_gitlab_has_the_same_jobs_with_the_same_roles() -> None:
    """But `check`, which is of this repository alone."""
    there = {
        name: (tasks(job["script"]), job["variables"].get("AWS_ROLE_ARN", "$")[1:]) for name, job in gitlab().items()
    }
    assert there == {
        name.partition(":")[2]: (tasks(lines(job)), role(job)) for name, (_, job) in JOBS.items() if role(job)
    }


def test_gitlab_s_jobs_get_their_role_by_a_token_for_aws() -> None:
    stages = yaml.safe_load(GITLAB.read_text())["stages"]
    for name, job in gitlab().items():
        assert job["stage"] in stages, name
        assert job["id_tokens"] == {"AWS_TOKEN": {"aud": AUDIENCE}}, name
        assert any("AWS_WEB_IDENTITY_TOKEN_FILE" in line for line in job["before_script"]), name


def test_gitlab_deploys_one_at_a_time_from_the_branch_alone() -> None:
    found = gitlab()
    for name in ("deploy", "sweeps"):
        assert found[name]["resource_group"] == "$STACK"
        (rule,) = found[name]["rules"]
        assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
    (rule,) = found["plan"]["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]
    assert yaml.safe_load(GITLAB.read_text())["default"]["interruptible"] is False


def test_gitlab_s_variables_are_those_of_the_bootstrap_stack_or_gitlab_s_own() -> None:
    used = {word for word in re.findall(r"\$\{?([A-Z_]+)", GITLAB.read_text()) if not word.startswith("CI_")}
    own = {"AWS_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "SCHEDULE", "HOME", "PATH"}
    # Region and backend are read from the environment, where GitLab puts its variables.
    assert used == (VARIABLES - {"AWS_REGION", "PULUMI_BACKEND_URL"}) | own


def test_both_pipelines_take_the_same_pulumi() -> None:
    version = (REPOSITORY / ".pulumi.version").read_text().strip()
    assert re.fullmatch(r"3\.\d+\.\d+", version)
    for file in WORKFLOWS:
        text = file.read_text()
        assert text.count("pulumi/actions@") == text.count("pulumi-version-file: .pulumi.version"), file
    assert "cat .pulumi.version" in GITLAB.read_text()
