"""What a machine of one kind may do: its role, the policy on it, and the instance profile that carries it."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from sweepfleet.infra.layout import IAM_PATH
from sweepfleet.infra.policies import EC2_MAY_ASSUME


class MachineRole(pulumi.ComponentResource):
    """A role that EC2 instances of one kind take on. Its policy is added with `allow`, once it can be written."""

    role_id: pulumi.Output[str]  # AROA...: with a colon and the instance's id, the caller's ${aws:userid}
    profile: aws.iam.InstanceProfile

    def __init__(
        self,
        name: str,
        *,
        description: str,
        permissions_boundary: str,
        parent: pulumi.Resource,
    ) -> None:
        super().__init__("sweepfleet:infra:MachineRole", name, None, pulumi.ResourceOptions(parent=parent))
        self._name = name
        self._children = pulumi.ResourceOptions(parent=self)
        self._role = aws.iam.Role(
            f"{name}-role",
            path=IAM_PATH,
            assume_role_policy=EC2_MAY_ASSUME,
            description=description,
            permissions_boundary=permissions_boundary or None,
            tags={"Name": name},
            opts=self._children,
        )
        self.profile = aws.iam.InstanceProfile(
            f"{name}-profile", path=IAM_PATH, role=self._role.name, tags={"Name": name}, opts=self._children
        )
        self.role_id = self._role.unique_id
        self.register_outputs({})

    def allow(self, policy: pulumi.Input[str]) -> aws.iam.RolePolicy:
        """Give the role its one policy."""
        return aws.iam.RolePolicy(f"{self._name}-policy", role=self._role.name, policy=policy, opts=self._children)
