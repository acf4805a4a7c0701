"""The stand-in for Pulumi's AWS provider keeps its own promises: strict inputs, real things, AWS's errors."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud import schema
from tests.cloud.aws import CloudError, client
from tests.cloud.cases import CASES, group
from tests.cloud.failures import Failures
from tests.cloud.handlers import FUNCTIONS, RESOURCES
from tests.cloud.moto import Moto
from tests.cloud.provider import NoHandlerError, UnfinishedError
from tests.cloud.wire import UNKNOWN, plain
from tests.cloud.world import ALLOW, TRUST, World, new_world

# Importing a module of pulumi_aws imports its deprecated resources too, each with a warning.
pytest_plugins = ["tests.cloud.fixtures"]
pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning:pulumi_aws")

INSTANCE, GROUP, TEMPLATE = (
    "aws:ec2/instance:Instance",
    "aws:autoscaling/group:Group",
    "aws:ec2/launchTemplate:LaunchTemplate",
)
BUCKET, VPC, SUBNET, EIP = "aws:s3/bucket:Bucket", "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/eip:Eip"
GATEWAY, SECURITY = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/securityGroup:SecurityGroup"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ATTACHMENT, ROLE = "aws:ec2/volumeAttachment:VolumeAttachment", "aws:iam/role:Role"
AMI, PARAMETER = "aws:ec2/getAmi:getAmi", "/aws/service/debian/release/12/latest/amd64"


@pytest.fixture
def world(moto: Moto) -> World:
    return new_world(moto)


class TestSchema:
    """What the handlers say they know is what pulumi_aws has."""

    @pytest.mark.parametrize("token", RESOURCES)
    def test_every_declared_input_exists(self, token: str) -> None:
        handler, known = RESOURCES[token], set(schema.fields(schema.resource_args(token)))
        assert handler.known() <= known
        assert schema.required(schema.resource_args(token)) <= handler.known()
        for part in (handler.replaces, handler.sets, handler.documents, *map(frozenset, handler.exclusive)):
            assert part <= handler.known()
        assert {handler.named, handler.prefixed} - {None} <= handler.known()

    @pytest.mark.parametrize("token", RESOURCES)
    def test_every_type_that_pulumi_tags_is_tagged_and_a_group_is_not(self, token: str) -> None:
        has_tags = "tags" in schema.fields(schema.resource_args(token))
        assert RESOURCES[token].tagged == (has_tags and token != GROUP)

    @pytest.mark.parametrize("token", FUNCTIONS)
    def test_every_declared_argument_exists(self, token: str) -> None:
        assert FUNCTIONS[token].inputs <= set(schema.function_args(token))

    @pytest.mark.parametrize("token", ["aws:ec2/network:Vpc", "aws:ec2/vpc:Network", "aws:ec2/vpc:VpcArgs"])
    def test_a_token_of_no_resource_is_refused(self, token: str) -> None:
        with pytest.raises(LookupError):
            schema.resource_args(token)

    def test_the_arguments_of_a_type_whose_name_is_also_a_nested_ones(self) -> None:
        assert "versioningConfiguration" in schema.fields(
            schema.resource_args("aws:s3/bucketVersioning:BucketVersioning")
        )


class TestStrictness:
    """What the stand-in does not know or pulumi_aws does not allow is refused by name."""

    @pytest.mark.parametrize(
        ("token", "inputs", "where", "what"),
        [
            (VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "x"}, "cidr", "does not know"),
            (VPC, {"cidrBlock": "10.0.0.0/16", "ipv6CidrBlock": "::/56"}, "ipv6CidrBlock", "does not know"),
            (ROLE, {"assumeRolePolicy": TRUST, "tagsAll": {}}, "tagsAll", "does not know"),
            (VPC, {"cidrBlock": 10}, "cidrBlock", "expected str, got 10"),
            (VPC, {"cidrBlock": "x", "enableDnsSupport": "true"}, "enableDnsSupport", "expected bool"),
            ("aws:ebs/volume:Volume", {"availabilityZone": "a", "size": "8"}, "size", "expected int"),
            ("aws:ebs/volume:Volume", {"availabilityZone": "a", "size": True}, "size", "expected int"),
            ("aws:ebs/volume:Volume", {"size": 8}, "availabilityZone", "requires"),
            (VPC, {"cidrBlock": "x", "tags": {"a": 1}}, "tags.a", "expected str"),
            (VPC, {"cidrBlock": "x", "tags": ["a"]}, "tags", "expected a mapping"),
            (INSTANCE, {"vpcSecurityGroupIds": "sg-1"}, "vpcSecurityGroupIds", "expected a list"),
            (INSTANCE, {"vpcSecurityGroupIds": [1]}, "vpcSecurityGroupIds[0]", "expected str"),
            (INSTANCE, {"metadataOptions": {"tokens": "required"}}, "metadataOptions.tokens", "no property"),
            (TEMPLATE, {"metadataOptions": {"httpTokens": True}}, "metadataOptions.httpTokens", "expected str"),
            (INSTANCE, {"userData": "a", "userDataBase64": "YQ=="}, "userDataBase64", "conflicts with userData"),
            (GROUP, {"minSize": 0, "maxSize": 1, "tags": [{"key": "a"}]}, "tags[0].propagateAtLaunch", "requires"),
            (GROUP, {"minSize": 0, "maxSize": 1, "tags": [{"key": "a"}]}, "tags[0].value", "requires"),
            (INGRESS, {"securityGroupId": "sg-1", "ipProtocol": "-1"}, "cidrIpv4", "exactly one"),
            (SECURITY, {"name": "a", "namePrefix": "b"}, "namePrefix", "conflicts"),
            (TEMPLATE, {"blockDeviceMappings": [{"ebs": {"iops": ""}}]}, "blockDeviceMappings[0].ebs.iops", "int"),
        ],
    )  # fmt: skip
    def test_a_wrong_input_is_named(self, world: World, token: str, inputs: Any, where: str, what: str) -> None:
        _, problems = world.provider.check(token, "thing", inputs, {}, b"")
        assert what in dict(problems)[where]

    def test_what_a_preview_does_not_know_yet_is_of_any_type(self, world: World) -> None:
        inputs = {"vpcSecurityGroupIds": UNKNOWN, "metadataOptions": {"httpPutResponseHopLimit": UNKNOWN}}
        assert not world.provider.check(INSTANCE, "thing", inputs, {}, b"")[1]

    def test_an_unknown_type_is_named(self, world: World) -> None:
        for call in (world.provider.create, lambda token, _: world.checked(token)):
            with pytest.raises(NoHandlerError, match="aws:sqs/queue:Queue"):
                call("aws:sqs/queue:Queue", {})

    def test_an_unknown_function_or_argument_is_named(self, world: World) -> None:
        with pytest.raises(NoHandlerError, match="getArn"):
            world.provider.invoke("aws:index/getArn:getArn", {})
        assert world.provider.invoke(AMI, {"nameRegex": "x"})[1][0][0] == "nameRegex"
        assert world.provider.invoke(AMI, {"owners": "self"})[1] == [("owners", "expected a list, got 'self'")]

    @pytest.mark.parametrize(
        "address", ["https://ec2.amazonaws.com", "http://10.0.0.1:80", "http://localhost", "http://10.99.0.1.example"]
    )
    def test_no_client_for_another_machine(self, address: str) -> None:
        with pytest.raises(ValueError, match=r"127\.0\.0\.1 and 10\.99\.0\.1 only"):
            client("ec2", region="eu-west-1", endpoint=address)


class TestLifecycle:
    """Each type is made, seen, changed in place and unmade, and nothing stays behind."""

    def test_every_type_has_a_case(self) -> None:
        assert CASES.keys() == RESOURCES.keys()

    @pytest.mark.parametrize("token", RESOURCES)
    def test_made_seen_changed_unmade(self, world: World, token: str) -> None:
        inputs, change = CASES[token](world)
        thing = world.make(token, **inputs)
        assert thing.state.items() >= thing.inputs.items()  # what was asked for is what is there
        assert not world.diff(thing, **inputs).changed
        assert world.read(thing) == (thing.state, thing.inputs)

        tags = {"tagsAll"} if "tags" in change and RESOURCES[token].tagged else set()
        difference = world.diff(thing, **{**inputs, **change})
        assert (difference.changed, difference.replaces) == (change.keys() | tags, set())
        id_ = world.update(thing, **{**inputs, **change}).id
        state, seen = world.read(thing)
        assert (thing.id, state) == (id_, thing.state)
        assert not world.provider.diff(
            token, state, seen, world.checked(token, thing, **{**inputs, **change})
        ).changed

        world.delete(thing)
        assert world.read(thing) is None or token == VERSIONING  # a bucket stays suspended
        world.provider.delete(token, thing.id, thing.state)  # gone already: no error
        world.end()
        assert world.moto.leftovers("eu-west-1") == []

    def test_what_changed_outside_is_seen(self, world: World) -> None:
        thing = world.make(VPC, cidrBlock="10.0.0.0/16", tags={"Name": "net"})
        ec2 = world.moto.client("ec2", "eu-west-1")
        ec2.create_tags(Resources=[thing.id], Tags=[{"Key": "Name", "Value": "other"}])
        _, inputs = world.read(thing)
        assert inputs["tags"] == {"Name": "other"}

    def test_unset_inputs_go_back_to_nothing(self, world: World) -> None:
        thing = world.make(
            SUBNET, vpcId=world.vpc(), cidrBlock="10.9.1.0/24", mapPublicIpOnLaunch=True, tags={"a": "b"}
        )
        world.update(thing, vpcId=world.vpc(), cidrBlock="10.9.1.0/24")
        assert not thing.state["mapPublicIpOnLaunch"]
        assert thing.state["tagsAll"] == {"project": "sweeps"}
        assert "tags" not in thing.state


class TestReplacement:
    """What cannot change in place replaces the thing, and only that."""

    def test_a_machines_image_and_disk_encryption(self, world: World) -> None:
        inputs = {"ami": world.ami(), "instanceType": "t3.micro", "rootBlockDevice": {"encrypted": True}}
        thing = world.make(INSTANCE, **inputs)
        assert world.diff(thing, **{**inputs, "ami": "ami-1"}).replaces == {"ami"}
        assert world.diff(thing, **{**inputs, "rootBlockDevice": {"encrypted": False}}).replaces == {
            "rootBlockDevice"
        }
        assert not world.diff(thing, **{**inputs, "rootBlockDevice": {"encrypted": True, "volumeSize": 30}}).replaces

    def test_a_machines_user_data_if_it_says_so(self, world: World) -> None:
        inputs = {"ami": world.ami(), "instanceType": "t3.micro", "userData": "a"}
        thing = world.make(INSTANCE, **inputs)
        assert not world.diff(thing, **{**inputs, "userData": "b"}).replaces
        assert world.diff(thing, **{**inputs, "userData": "b", "userDataReplaceOnChange": True}).replaces == {
            "userData"
        }

    def test_a_rules_kind_of_peer(self, world: World) -> None:
        inputs = {"securityGroupId": world.group(), "ipProtocol": "-1"}
        thing = world.make(INGRESS, **inputs, cidrIpv4="192.0.2.0/24")
        assert not world.diff(thing, **inputs, cidrIpv4="192.0.2.1/32").replaces
        assert world.diff(thing, **inputs, referencedSecurityGroupId=world.group()).replaces

    def test_a_name_that_the_program_chose_is_freed_first(self, world: World) -> None:
        chosen = world.make(SECURITY, name="mine", vpcId=world.vpc(), description="a")
        given = world.make(SECURITY, vpcId=world.vpc(), description="a")
        assert world.diff(chosen, name="mine", vpcId=world.vpc(), description="b").delete_first
        assert not world.diff(given, vpcId=world.vpc(), description="b").delete_first
        assert given.state["name"].startswith("thing-")

    def test_what_a_preview_does_not_know_yet_may_be_another(self, world: World) -> None:
        thing = world.make(SUBNET, vpcId=world.vpc(), cidrBlock="10.9.1.0/24")
        assert world.diff(thing, vpcId=UNKNOWN, cidrBlock="10.9.1.0/24").replaces == {"vpcId"}

    def test_order_and_spacing_that_say_nothing_change_nothing(self, world: World) -> None:
        one, two = world.group(), world.make(SECURITY, vpcId=world.vpc()).id
        inputs = {"ami": world.ami(), "instanceType": "t3.micro", "subnetId": world.subnet()}
        machine = world.make(INSTANCE, **inputs, vpcSecurityGroupIds=[one, two])
        assert not world.diff(machine, **inputs, vpcSecurityGroupIds=[two, one]).changed
        role = world.make(ROLE, assumeRolePolicy=TRUST)
        assert not world.diff(role, assumeRolePolicy=json.loads(TRUST)).changed

    def test_ignored_inputs_do_not_count(self, world: World) -> None:
        thing = world.make(GROUP, **group(world), desiredCapacity=0)
        new = {**thing.inputs, "desiredCapacity": 2}
        assert world.provider.diff(GROUP, thing.state, thing.inputs, new).changed == {"desiredCapacity"}
        assert not world.provider.diff(GROUP, thing.state, thing.inputs, new, ["desiredCapacity"]).changed


class TestTags:
    """The provider's default tags reach what the real provider's do."""

    def test_they_join_the_resources_own_which_win(self, world: World) -> None:
        thing = world.make(VPC, cidrBlock="10.0.0.0/16", tags={"project": "mine", "Name": "net"})
        assert thing.state["tags"] == thing.state["tagsAll"] == {"project": "mine", "Name": "net"}
        other = world.make(VPC, cidrBlock="10.1.0.0/16")
        vpc = world.moto.client("ec2", "eu-west-1").describe_vpcs(VpcIds=[other.id])["Vpcs"][0]
        assert vpc["Tags"] == [{"Key": "project", "Value": "sweeps"}]

    def test_they_do_not_reach_a_group_or_its_machines(self, world: World) -> None:
        tag = {"key": "role", "value": "worker", "propagateAtLaunch": True}
        thing = world.make(GROUP, **group(world, 1), tags=[tag])
        assert thing.state["tags"] == [tag]
        found = world.moto.client("ec2", "eu-west-1").describe_instances()["Reservations"][0]["Instances"][0]
        assert "project" not in {each["Key"] for each in found["Tags"]}

    def test_a_changed_default_tag_changes_what_has_it(self, moto: Moto) -> None:
        old = new_world(moto)
        thing = old.make(VPC, cidrBlock="10.0.0.0/16")
        new = World(
            moto, type(old.provider)(moto.connection("eu-west-1", default_tags={"p": "q"}), Failures()), [thing]
        )
        assert new.diff(thing, cidrBlock="10.0.0.0/16").changed == {"tagsAll"}
        new.update(thing, cidrBlock="10.0.0.0/16")
        assert thing.state["tagsAll"] == {"p": "q"}


class TestBehaviour:
    """The behaviours of the real provider and of AWS that a program can trip over."""

    def test_a_new_security_group_lets_nothing_out(self, world: World) -> None:
        group = world.moto.client("ec2", "eu-west-1").describe_security_groups(GroupIds=[world.group()])
        assert group["SecurityGroups"][0]["IpPermissionsEgress"] == []

    def test_a_bucket_with_contents_stays_unless_forced(self, world: World) -> None:
        bucket = world.make(BUCKET)
        versioning = {"versioningConfiguration": {"status": "Enabled"}}
        world.make("aws:s3/bucketVersioning:BucketVersioning", bucket=bucket.id, **versioning)
        s3 = world.moto.client("s3", "eu-west-1")
        for text in (b"one", b"two"):
            s3.put_object(Bucket=bucket.id, Key="run/a", Body=text)
        s3.delete_object(Bucket=bucket.id, Key="run/a")  # leaves a marker and two versions
        with pytest.raises(CloudError, match="BucketNotEmpty"):
            world.delete(bucket)
        world.update(bucket, forceDestroy=True)
        world.end()
        assert world.moto.leftovers("eu-west-1") == []

    def test_a_bucket_name_that_is_taken_is_an_error_in_every_region(self, moto: Moto) -> None:
        for region in moto.regions:
            world = new_world(moto, region=region)
            world.make(BUCKET, bucket=f"mine-{region}")
            with pytest.raises(CloudError, match="BucketAlreadyExists"):
                world.make(BUCKET, bucket=f"mine-{region}")

    def test_a_vpc_with_something_in_it_stays(self, world: World) -> None:
        world.subnet()
        with pytest.raises(CloudError, match=r"deleting aws:ec2/vpc:Vpc vpc-.*DependencyViolation"):
            world.delete(world.made[0])

    def test_a_role_with_policies_goes_only_by_force(self, world: World) -> None:
        for force in (False, True):
            role = world.make(ROLE, assumeRolePolicy=TRUST, forceDetachPolicies=force)
            world.moto.client("iam").put_role_policy(RoleName=role.id, PolicyName="other", PolicyDocument=ALLOW)
            if force:
                world.delete(role)
            else:
                with pytest.raises(CloudError, match="DeleteConflict"):
                    world.delete(role)

    def test_a_machine_is_stopped_for_what_only_a_stopped_one_can_change(self, world: World) -> None:
        inputs = {"ami": world.ami(), "instanceType": "t3.micro"}
        machine, calls = world.make(INSTANCE, **inputs), calls_of(world)
        world.update(machine, **inputs, monitoring=None, disableApiTermination=False)
        assert "StopInstances" not in calls
        world.update(machine, ami=inputs["ami"], instanceType="t3.large", userData="new")
        assert [call for call in calls if "Instances" in call and "Describe" not in call] == [
            "StopInstances",
            "StartInstances",
        ]
        attribute = world.moto.client("ec2", "eu-west-1").describe_instance_attribute
        sent = attribute(InstanceId=machine.id, Attribute="userData")["UserData"]["Value"]
        assert (machine.state["instanceType"], base64.b64decode(sent)) == ("t3.large", b"new")
        assert machine.state["instanceState"] == "running"

    def test_a_machines_credits_are_kept_changed_in_place_and_of_burstable_types_alone(self, world: World) -> None:
        ec2 = world.moto.client("ec2", "eu-west-1")
        credit: Any = lambda one: ec2.describe_instance_credit_specifications(InstanceIds=[one.id])[  # noqa: E731
            "InstanceCreditSpecifications"
        ]
        inputs = {"ami": world.ami(), "instanceType": "t3.micro"}
        machine = world.make(INSTANCE, **inputs)
        assert credit(machine)[0]["CpuCredits"] == "unlimited", "AWS's own default"
        calls = calls_of(world)
        world.update(machine, **inputs, creditSpecification={"cpuCredits": "standard"})
        assert credit(machine)[0]["CpuCredits"] == "standard"
        assert "StopInstances" not in calls
        born = world.make(INSTANCE, **inputs, creditSpecification={"cpuCredits": "standard"})
        assert (credit(born)[0]["CpuCredits"], born.state["creditSpecification"]) == (
            "standard",
            {"cpuCredits": "standard"},
        )
        world.update(born, ami=inputs["ami"], instanceType="m7i.large")
        assert credit(born) == []
        with pytest.raises(CloudError, match="takes no CPU credits"):
            world.make(
                INSTANCE, ami=world.ami(), instanceType="m7i.large", creditSpecification={"cpuCredits": "standard"}
            )

    @pytest.mark.parametrize("stays", [False, True])
    def test_a_machines_own_disk_goes_with_it_unless_it_says_not(self, world: World, *, stays: bool) -> None:
        disk = {"encrypted": True, **({"deleteOnTermination": False} if stays else {})}
        world.delete(world.make(INSTANCE, ami=world.ami(), instanceType="t3.micro", rootBlockDevice=disk))
        assert [line.split()[0] for line in world.moto.leftovers("eu-west-1")] == ["volume"] * stays

    def test_a_disk_is_detached_and_its_machine_stopped_first_if_it_says_so(self, world: World) -> None:
        where = {"deviceName": "/dev/xvdf", "instanceId": world.machine(), "volumeId": world.volume()}
        calls = calls_of(world)
        for stop, expected in ((False, ["DetachVolume"]), (True, ["StopInstances", "DetachVolume"])):
            attachment = world.make(ATTACHMENT, **where, stopInstanceBeforeDetaching=stop)
            calls.clear()
            world.delete(attachment)
            assert [call for call in calls if not call.startswith("Describe")] == expected

    def test_what_was_terminated_cannot_be_stopped_started_changed_or_attached_to(self, world: World) -> None:
        """So an attachment cannot be deleted before it is known to be gone, as with the real provider."""
        machine, address = world.machine(), world.make(EIP, domain="vpc")
        where = {"deviceName": "/dev/xvdf", "instanceId": machine, "volumeId": world.volume()}
        attachment = world.make(ATTACHMENT, **where, stopInstanceBeforeDetaching=True)
        ec2 = world.moto.client("ec2", "eu-west-1")
        ec2.associate_address(AllocationId=address.id, InstanceId=machine)
        ec2.terminate_instances(InstanceIds=[machine])
        with pytest.raises(CloudError, match="StopInstances: IncorrectInstanceState"):
            world.delete(attachment)
        assert world.read(attachment) is None
        assert not ec2.describe_addresses()["Addresses"][0].get("AssociationId")
        for call, words in (
            (ec2.start_instances, {"InstanceIds": [machine]}),
            (ec2.modify_instance_attribute, {"InstanceId": machine, "InstanceType": {"Value": "t3.large"}}),
            (ec2.attach_volume, {"InstanceId": machine, "VolumeId": where["volumeId"], "Device": "/dev/xvdf"}),
            (ec2.associate_address, {"InstanceId": machine, "AllocationId": address.id}),
        ):
            with pytest.raises(ClientError, match=r"Incorrect(Instance)?State|InvalidInstanceID"):
                call(**words)

    def test_a_templates_change_is_a_new_version(self, world: World) -> None:
        inputs = {"imageId": world.ami(), "instanceType": "t3.micro"}
        template = world.make(TEMPLATE, **inputs)
        versions = [(template.state["latestVersion"], template.state["defaultVersion"])]
        for change in ({"instanceType": "t3.large"}, {"instanceType": "t3.small", "updateDefaultVersion": True}):
            new = world.checked(TEMPLATE, template, **{**inputs, **change})
            planned = world.provider.planned_update(TEMPLATE, template.state, template.inputs, new)
            assert planned["latestVersion"] == UNKNOWN  # so that a preview shows what depends on it changing
            world.update(template, **{**inputs, **change})
            versions.append((template.state["latestVersion"], template.state["defaultVersion"]))
        assert versions == [(1, 1), (2, 1), (3, 3)]

    def test_a_group_is_emptied_before_it_goes_unless_forced(self, world: World) -> None:
        calls = calls_of(world, "autoscaling")
        for force in (False, True):
            made = world.make(GROUP, **group(world, 2), forceDelete=force)
            calls.clear()
            world.delete(made)
            assert ("UpdateAutoScalingGroup" in calls) is not force
        found = world.moto.client("ec2", "eu-west-1").describe_instances()["Reservations"]
        states = {each["State"]["Name"] for one in found for each in one["Instances"]}
        assert states == {"terminated"}

    def test_an_endpoint_knows_its_prefix_list(self, world: World) -> None:
        service = "com.amazonaws.eu-west-1.s3"
        endpoint = world.make("aws:ec2/vpcEndpoint:VpcEndpoint", vpcId=world.vpc(), serviceName=service)
        found, _ = world.provider.invoke("aws:ec2/getManagedPrefixList:getManagedPrefixList", {"name": service})
        assert endpoint.state["prefixListId"] == found["id"]

    def test_what_the_cloud_is_asked(self, world: World) -> None:
        def ask(token: str, **args: Any) -> dict[str, Any]:
            return world.provider.invoke(token, args)[0]

        zones = ask("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")
        assert zones["names"] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
        parameter = ask("aws:ssm/getParameter:getParameter", name=PARAMETER)
        image = ask(AMI, filters=[{"name": "image-id", "values": [parameter["value"]]}])
        assert (image["architecture"], image["rootDeviceName"]) == ("x86_64", "/dev/xvda")
        newest = ask(AMI, owners=["136693071363"], mostRecent=True)
        assert newest["name"].startswith("debian-12-")
        offers = ask(
            "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings",
            locationType="availability-zone",
            filters=[{"name": "instance-type", "values": ["c7i.xlarge"]}],
        )
        assert set(offers["instanceTypes"]) == {"c7i.xlarge"}
        assert set(offers["locations"]) <= set(zones["names"])
        assert ask("aws:ec2/getInstanceType:getInstanceType", instanceType="c7i.xlarge")["defaultVcpus"] == 4
        assert ask("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == "123456789012"
        assert ask("aws:index/getRegion:getRegion")["region"] == "eu-west-1"

    def test_more_images_than_one_is_an_error(self, world: World) -> None:
        with pytest.raises(CloudError, match="more than one result"):
            world.provider.invoke(AMI, {"owners": ["136693071363"]})


class TestFailures:
    """A creation fails as AWS would fail it, or as a test asks for; what exists is recorded, what does not is not."""

    def test_awss_own_words(self, world: World) -> None:
        with pytest.raises(CloudError, match=r"creating aws:ec2/subnet:Subnet: CreateSubnet: InvalidVpcID\.NotFound"):
            world.make(SUBNET, vpcId="vpc-1", cidrBlock="10.0.0.0/24")

    def test_the_nth_creation_fails_once(self, moto: Moto) -> None:
        world = new_world(moto, fail={EIP: 2})
        world.make(EIP)
        with pytest.raises(CloudError, match="InjectedFailure"):
            world.make(EIP)
        world.make(EIP)
        assert len(moto.client("ec2", "eu-west-1").describe_addresses()["Addresses"]) == 2

    def test_a_file_counts_for_processes_that_come_and_go(self, tmp_path: Path) -> None:
        file = tmp_path / "fail.json"
        file.write_text(json.dumps({EIP: 2}))
        Failures(file).before_create(EIP)
        assert json.loads(file.read_text()) == {EIP: 1}
        with pytest.raises(CloudError):
            Failures(file).before_create(EIP)
        Failures(file).before_create(EIP)

    def test_a_thing_that_is_not_finished_is_recorded_and_finished_later(self, world: World) -> None:
        inputs = world.checked(GATEWAY, vpcId="vpc-1")
        with pytest.raises(UnfinishedError, match="InvalidVpcID") as raised:
            world.provider.create(GATEWAY, inputs)
        assert raised.value.id.startswith("igw-")
        new = world.checked(GATEWAY, vpcId=world.vpc())
        state = world.provider.update(GATEWAY, raised.value.id, raised.value.state, inputs, new)
        assert state["vpcId"] == world.vpc()
        assert "__unfinished" not in state


def test_values_lose_their_wrappings_and_nothing_else() -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": {"a": 1.0}}
    output = {"4dabf18193072939515e22adb298388d": "d0e6a833031e9bbcd3f4e8bde6ca49a4", "secret": True}
    assert plain({"s": secret, "o": output, "n": 1.5, "l": [2.0, None]}) == {
        "s": {"a": 1},
        "o": UNKNOWN,
        "n": 1.5,
        "l": [2, None],
    }


def calls_of(world: World, service: str = "ec2") -> list[str]:
    """The names of the API calls from now on, in order."""
    calls: list[str] = []
    events = world.moto.client(service, world.region).meta.events
    events.register(f"before-call.{service}", lambda model, **_: calls.append(str(model.name)))
    return calls
