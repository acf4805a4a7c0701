"""What a program can ask of the cloud: zones, images, instance types, parameters, prefix lists, and who it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cloud.aws import Aws, CloudError, tag_map
from tests.cloud.handlers.base import Props, only, pascal

Run = Callable[[Aws, Props], dict[str, Any]]


@dataclass(frozen=True)
class Function:
    """A function by its token, with the arguments it knows."""

    token: str
    inputs: frozenset[str]
    run: Run


ALL: list[Function] = []


def function(token: str, *inputs: str) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        ALL.append(Function(token, frozenset(inputs), run))
        return run

    return register


@function("aws:index/getAvailabilityZones:getAvailabilityZones", "state", "filters", "allAvailabilityZones")
def availability_zones(aws: Aws, args: Props) -> dict[str, Any]:
    filters = pascal(args.get("filters", []))
    if args.get("state"):
        filters.append({"Name": "state", "Values": [args["state"]]})
    everywhere = args.get("allAvailabilityZones", False)
    found = aws.ec2.describe_availability_zones(Filters=filters, AllAvailabilityZones=everywhere)["AvailabilityZones"]
    zones = sorted(found, key=lambda zone: zone["ZoneName"])
    return {
        **args,
        "id": aws.region,
        "region": aws.region,
        "names": [zone["ZoneName"] for zone in zones],
        "zoneIds": [zone["ZoneId"] for zone in zones],
        "groupNames": [aws.region],
    }


@function("aws:ssm/getParameter:getParameter", "name", "withDecryption")
def parameter(aws: Aws, args: Props) -> dict[str, Any]:
    found = aws.client("ssm").get_parameter(Name=args["name"], WithDecryption=args.get("withDecryption", True))
    value = found["Parameter"]
    return {
        **args,
        "id": args["name"],
        "region": aws.region,
        "arn": value["ARN"],
        "type": value["Type"],
        "value": value["Value"],
        "insecureValue": value["Value"] if value["Type"] != "SecureString" else "",
        "version": value["Version"],
    }


@function("aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings", "locationType", "filters")
def instance_type_offerings(aws: Aws, args: Props) -> dict[str, Any]:
    arguments = {"LocationType": args.get("locationType", "region"), "Filters": pascal(args.get("filters", []))}
    pages = aws.ec2.get_paginator("describe_instance_type_offerings").paginate(**arguments)
    found = [offering for page in pages for offering in page["InstanceTypeOfferings"]]
    found.sort(key=lambda offering: (offering["InstanceType"], offering["Location"]))
    return {
        **args,
        "id": aws.region,
        "region": aws.region,
        "instanceTypes": [offering["InstanceType"] for offering in found],
        "locations": [offering["Location"] for offering in found],
        "locationTypes": [offering["LocationType"] for offering in found],
    }


@function("aws:ec2/getInstanceType:getInstanceType", "instanceType")
def instance_type(aws: Aws, args: Props) -> dict[str, Any]:
    found = aws.ec2.describe_instance_types(InstanceTypes=[args["instanceType"]])["InstanceTypes"][0]
    cpus = found["VCpuInfo"]
    return {
        "id": args["instanceType"],
        "region": aws.region,
        "instanceType": args["instanceType"],
        "defaultVcpus": cpus["DefaultVCpus"],
        "defaultCores": cpus.get("DefaultCores"),
        "defaultThreadsPerCore": cpus.get("DefaultThreadsPerCore"),
        "memorySize": found["MemoryInfo"]["SizeInMiB"],
        "supportedArchitectures": found["ProcessorInfo"]["SupportedArchitectures"],
        "burstablePerformanceSupported": found["BurstablePerformanceSupported"],
        "currentGeneration": found["CurrentGeneration"],
    }


@function("aws:ec2/getAmi:getAmi", "owners", "filters", "mostRecent", "includeDeprecated")
def ami(aws: Aws, args: Props) -> dict[str, Any]:
    arguments = {"Filters": pascal(args.get("filters", []))}
    if args.get("owners"):
        arguments["Owners"] = args["owners"]
    if "includeDeprecated" in args:
        arguments["IncludeDeprecated"] = args["includeDeprecated"]
    found = sorted(aws.ec2.describe_images(**arguments)["Images"], key=lambda image: image["CreationDate"])
    if not found:
        raise CloudError("your query returned no results: change your search criteria and try again")
    if len(found) > 1 and not args.get("mostRecent"):
        raise CloudError("your query returned more than one result: add filters, or set mostRecent to true")
    image = found[-1]
    return {
        **args,
        "id": image["ImageId"],
        "region": aws.region,
        "imageId": image["ImageId"],
        "name": image["Name"],
        "description": image.get("Description"),
        "architecture": image["Architecture"],
        "creationDate": image["CreationDate"],
        "ownerId": image["OwnerId"],
        "rootDeviceName": image.get("RootDeviceName"),
        "rootDeviceType": image.get("RootDeviceType"),
        "state": image["State"],
        "arn": f"arn:aws:ec2:{aws.region}::image/{image['ImageId']}",
    }


@function("aws:index/getCallerIdentity:getCallerIdentity")
def caller_identity(aws: Aws, args: Props) -> dict[str, Any]:
    found = aws.client("sts").get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


@function("aws:index/getRegion:getRegion")
def region(aws: Aws, args: Props) -> dict[str, Any]:
    return {
        "id": aws.region,
        "region": aws.region,
        "name": aws.region,
        "endpoint": f"ec2.{aws.region}.amazonaws.com",
        "description": aws.region,
    }


@function("aws:ec2/getPrefixList:getPrefixList", "name", "prefixListId", "filters")
def prefix_list(aws: Aws, args: Props) -> dict[str, Any]:
    found = _prefix_list(aws, args, "prefixListId")
    return {"id": found["PrefixListId"], "name": found["PrefixListName"], "cidrBlocks": [], "region": aws.region}


@function("aws:ec2/getManagedPrefixList:getManagedPrefixList", "name", "id", "filters")
def managed_prefix_list(aws: Aws, args: Props) -> dict[str, Any]:
    found = _prefix_list(aws, args, "id")
    return {
        "id": found["PrefixListId"],
        "region": aws.region,
        "name": found["PrefixListName"],
        "arn": found["PrefixListArn"],
        "addressFamily": found["AddressFamily"],
        "ownerId": found["OwnerId"],
        "tags": tag_map(found.get("Tags")),
        "entries": [],
    }


def _prefix_list(aws: Aws, args: Props, id_key: str) -> Any:
    filters = pascal(args.get("filters", []))
    if args.get("name"):
        filters.append({"Name": "prefix-list-name", "Values": [args["name"]]})
    if args.get(id_key):
        filters.append({"Name": "prefix-list-id", "Values": [args[id_key]]})
    found = only(aws.ec2.describe_managed_prefix_lists(Filters=filters)["PrefixLists"])
    if not found:
        raise CloudError("no matching prefix list found")
    return found
