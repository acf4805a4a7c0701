"""What moto leaves out of burstable machines' CPU credits: it takes no note of them, and says `standard` of all."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import InvalidParameterCombination
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse

BURSTABLE = {"t2": "standard", "t3": "unlimited", "t3a": "unlimited", "t4g": "unlimited"}  # and what AWS gives them
KEPT = "rehearsed_credits"


def install() -> None:
    """Have moto keep each machine's credits as AWS does. Once in a process is enough, and more do no harm."""
    answers: Any = InstanceResponse
    if hasattr(answers, "modify_instance_credit_specification"):
        return
    run_instances = answers.run_instances

    def launch(self: InstanceResponse) -> ActionResult:
        asked = self._get_param("CreditSpecification.CpuCredits")
        if asked:
            _check(str(self._get_param("InstanceType")), asked)
        before = {one.id for one in self.ec2_backend.all_instances()}
        result: ActionResult = run_instances(self)
        for one in self.ec2_backend.all_instances():
            if asked and one.id not in before:
                setattr(one, KEPT, asked)
        return result

    answers.run_instances = launch
    answers.describe_instance_credit_specifications = _describe
    answers.modify_instance_credit_specification = _modify


def _describe(self: InstanceResponse) -> ActionResult:
    found = self.ec2_backend.describe_instance_credit_specifications(self._get_param("InstanceIds", []))
    each = [{"InstanceId": one.id, "CpuCredits": _credits(one)} for one in found if _family(one) in BURSTABLE]
    return ActionResult({"InstanceCreditSpecifications": each})


def _modify(self: InstanceResponse) -> ActionResult:
    changed = []
    for asked in self._get_param("InstanceCreditSpecifications", []):
        machine = self.ec2_backend.get_instance(asked["InstanceId"])
        _check(machine.instance_type, asked["CpuCredits"])
        setattr(machine, KEPT, asked["CpuCredits"])
        changed.append({"InstanceId": machine.id})
    return ActionResult(
        {"SuccessfulInstanceCreditSpecifications": changed, "UnsuccessfulInstanceCreditSpecifications": []}
    )


def _check(instance_type: str, credit: str) -> None:
    if instance_type.partition(".")[0] not in BURSTABLE or credit not in ("standard", "unlimited"):
        raise InvalidParameterCombination(f"{instance_type} takes no CPU credits of the kind {credit}")


def _family(machine: Instance) -> str:
    return str(machine.instance_type).partition(".")[0]


def _credits(machine: Instance) -> str:
    return str(getattr(machine, KEPT, BURSTABLE[_family(machine)]))
