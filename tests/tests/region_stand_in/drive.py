"""Drives a stand-in for Azure's control plane with Microsoft's own SDK: the whole of a recovery, one line for each step.
usage: drive.py URL TENANT CLIENT SECRET; exit status 0 when every step answered as the SDK expects."""
import json, struct, sys, time, urllib.request
from urllib.parse import urlencode
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient
from azure.storage.blob import BlobClient

base, tenant, client, secret = sys.argv[1:5]
MIB = 1 << 20
SIZE = 20 * MIB


class Login:
    """A token of the stand-in's own login, for a secret."""

    def get_token(self, *scopes, **_):
        form = urlencode({"grant_type": "client_credentials", "client_id": client, "client_secret": secret,
                          "scope": scopes[0]}).encode()
        with urllib.request.urlopen(f"{base}/{tenant}/oauth2/v2.0/token", form) as answer:
            token = json.load(answer)
        return AccessToken(token["access_token"], int(time.time()) + token["expires_in"])


def step(name, what):
    print(f"{name}: {what}")
    return what


def footer(size):
    head = b"conectix" + struct.pack(">IIQI4sI4sQQHBBI", 2, 0x10000, 2**64 - 1, 0, b"test", 0, b"Wi2k", size, size,
                                     65535, 16, 255, 2)
    rest = bytes(16) + bytes(1 + 427)
    total = (~sum(head + rest)) & 0xFFFFFFFF
    return head + struct.pack(">I", total) + rest


subscription = "00000000-0000-0000-0000-000000000001"
common = dict(base_url=base, credential_scopes=["https://management.azure.com/.default"], polling_interval=0)
plain = {"enforce_https": False}
login = Login()
compute = ComputeManagementClient(login, subscription, **common)
network = NetworkManagementClient(login, subscription, **common)
resource = ResourceManagementClient(login, subscription, **common)
storage = StorageManagementClient(login, subscription, **common)
west = "westeurope"
tags = {"lifeboat-order": "7"}

step("group", resource.resource_groups.create_or_update("rg1", {"location": west, "tags": tags}, **plain).name)
assert resource.resource_groups.check_existence("rg1", **plain)
assert not resource.resource_groups.check_existence("rg2", **plain)
sizes = [sku.name for sku in compute.resource_skus.list(filter=f"location eq '{west}'", **plain)
         if sku.resource_type == "virtualMachines"]
step("sizes", sizes)
assert "Standard_D2s_v5" in sizes
usage = {one.name.value: (one.current_value, one.limit) for one in compute.usage.list(west, **plain)}
assert usage["cores"][0] == 0, usage
step("network usages", len(list(network.usages.list(west, **plain))))

def disk(name, **more):
    properties = {"osType": "Linux", "hyperVGeneration": "V2",
                  "creationData": {"createOption": "Upload", "uploadSizeBytes": SIZE + 512}}
    made = compute.disks.begin_create_or_update(
        "rg1", name, {"location": west, "tags": tags, "sku": {"name": "Premium_LRS"}, "properties": properties | more},
        **plain).result()
    assert compute.disks.get("rg1", name, **plain).properties.disk_state == "ReadyToUpload"
    return made

def grant(name):
    return compute.disks.begin_grant_access("rg1", name, {"access": "Write", "durationInSeconds": 3600}, **plain).result()

os_disk = step("disk", disk("os1").id)
data_disk = disk("data1").id
sas = grant("os1").access_sas
blob = BlobClient.from_blob_url(sas, api_version="2026-06-06")
assert blob.get_blob_properties().size == SIZE + 512
first = bytes(range(256)) * 4096
blob.upload_page(first, offset=0, length=len(first))
blob.upload_page(footer(SIZE), offset=SIZE, length=512)
ranges = step("uploaded", [(one.start, one.end) for one in blob.list_page_ranges()])
assert ranges == [(0, MIB - 1), (SIZE, SIZE + 511)], ranges
assert compute.disks.get("rg1", "os1", **plain).properties.disk_state == "ActiveUpload"
compute.disks.begin_revoke_access("rg1", "os1", **plain).result()
assert compute.disks.get("rg1", "os1", **plain).properties.disk_state == "Unattached"
try:
    blob.upload_page(first, offset=0, length=len(first))
    sys.exit("an address that was taken back still writes")
except HttpResponseError as refused:
    step("taken back", refused.status_code)
grant("data1")
compute.disks.begin_revoke_access("rg1", "data1", **plain).result()

copy = {"location": west, "properties": {"incremental": True,
        "creationData": {"createOption": "Copy", "sourceResourceId": os_disk}}}
snapshot = step("snapshot", compute.snapshots.begin_create_or_update("rg1", "snap1", copy, **plain).result().id)
read = compute.snapshots.begin_grant_access("rg1", "snap1", {"access": "Read", "durationInSeconds": 60}, **plain).result()
there = BlobClient.from_blob_url(read.access_sas, api_version="2026-06-06").download_blob(0, len(first)).readall()
assert there == first, "the snapshot holds what was uploaded"
compute.snapshots.begin_revoke_access("rg1", "snap1", **plain).result()

rule = {"name": "ssh", "properties": {"priority": 100, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
        "sourceAddressPrefix": "10.0.0.0/8", "sourcePortRange": "*", "destinationAddressPrefix": "*",
        "destinationPortRange": "22"}}
rules = network.network_security_groups.begin_create_or_update(
    "rg1", "nsg1", {"location": west, "properties": {"securityRules": [rule]}}, **plain).result()
network.virtual_networks.begin_create_or_update(
    "rg1", "vn1", {"location": west, "properties": {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}}}, **plain).result()
subnet = step("subnet", network.subnets.begin_create_or_update(
    "rg1", "vn1", "s1", {"properties": {"addressPrefix": "10.9.1.0/24", "networkSecurityGroup": {"id": rules.id}}},
    **plain).result().id)
public = network.public_ip_addresses.begin_create_or_update(
    "rg1", "ip1", {"location": west, "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}},
    **plain).result()
address = {"privateIPAllocationMethod": "Static", "privateIPAddress": "10.9.1.10", "subnet": {"id": subnet},
           "publicIPAddress": {"id": public.id}}
nic = step("interface", network.network_interfaces.begin_create_or_update(
    "rg1", "nic1", {"location": west, "properties": {"ipConfigurations": [{"name": "a", "properties": address}]}},
    **plain).result().id)
free = network.virtual_networks.check_ip_address_availability("rg1", "vn1", ip_address="10.9.1.10", **plain)
assert not free.available and free.available_ip_addresses, "the address is the interface's"

machine = {"location": west, "tags": tags, "properties": {
    "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
    "storageProfile": {
        "osDisk": {"createOption": "Attach", "osType": "Linux", "managedDisk": {"id": os_disk}, "deleteOption": "Detach"},
        "dataDisks": [{"lun": 0, "createOption": "Attach", "managedDisk": {"id": data_disk}}]},
    "networkProfile": {"networkInterfaces": [{"id": nic, "properties": {"primary": True}}]},
    "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}}}}
vm = step("machine", compute.virtual_machines.begin_create_or_update("rg1", "vm1", machine, **plain).result().id)
view = compute.virtual_machines.instance_view("rg1", "vm1", **plain)
assert [one.code for one in view.statuses] == ["ProvisioningState/succeeded", "PowerState/running"]
assert compute.disks.get("rg1", "os1", **plain).managed_by == vm
shown = compute.virtual_machines.retrieve_boot_diagnostics_data("rg1", "vm1", **plain)
with urllib.request.urlopen(shown.serial_console_log_blob_uri) as log:
    step("console", log.read())
with urllib.request.urlopen(shown.console_screenshot_blob_uri) as picture:
    assert picture.read()[:2] == b"BM"
try:
    compute.disks.begin_delete("rg1", "os1", **plain).result()
    sys.exit("an attached disk was deleted")
except HttpResponseError as refused:
    step("attached", refused.error.code)
# What an order looks at before it makes anything, and when it goes on.
assert resource.resource_groups.get("rg1", **plain).tags == tags
assert compute.virtual_machines.get("rg1", "vm1", **plain).properties.provisioning_state == "Succeeded"
assert compute.snapshots.get("rg1", "snap1", **plain).properties.incremental
assert network.network_interfaces.get("rg1", "nic1", **plain).id == nic
assert network.network_security_groups.get("rg1", "nsg1", **plain).id == rules.id
assert network.virtual_networks.get("rg1", "vn1", **plain).name == "vn1"
assert network.subnets.get("rg1", "vn1", "s1", **plain).id == subnet
assert network.public_ip_addresses.get("rg1", "ip1", **plain).id == public.id
compute.virtual_machines.begin_deallocate("rg1", "vm1", **plain).result()
compute.virtual_machines.begin_start("rg1", "vm1", **plain).result()
compute.virtual_machines.begin_power_off("rg1", "vm1", skip_shutdown=True, **plain).result()
found = [one.name for one in resource.resources.list_by_resource_group(
    "rg1", filter="tagName eq 'lifeboat-order' and tagValue eq '7'", **plain)]
assert sorted(found) == ["data1", "os1", "vm1"], found
compute.virtual_machines.begin_delete("rg1", "vm1", force_deletion=True, **plain).result()
try:
    compute.virtual_machines.get("rg1", "vm1", **plain)
    sys.exit("a deleted machine was found")
except ResourceNotFoundError as missing:
    step("missing", missing.error.code)
storage.storage_accounts.begin_create(
    "rg1", "seeds1", {"location": west, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}, **plain).result()
keys = storage.storage_accounts.list_keys("rg1", "seeds1", **plain).as_dict()
assert len(keys["keys"]) == 2, keys
resource.resource_groups.begin_delete("rg1", **plain).result()
assert not resource.resource_groups.check_existence("rg1", **plain)
print("all steps answered")
