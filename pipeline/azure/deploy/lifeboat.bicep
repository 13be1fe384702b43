// All that an empty subscription needs: account, container that keeps what is written, roles for writing, pruning and
// recovering, a network, and the recovery machine that waits switched off. Give recovery a subscription of its own: a
// drill makes resource groups and deletes them.
//
//   az login
//   az ad sp create-for-rbac --name lifeboat-writer --create-cert --query appId     the appliance's identity
//   az ad sp create-for-rbac --name lifeboat-pruner --create-cert --query appId     kept elsewhere, for pruning
//   az ad sp show --id APPID --query id                                             what each parameter below wants
//   az deployment sub create --location westeurope --template-file lifeboat.bicep \
//       --parameters accountName=ACCOUNT writerObjectId=ID prunerObjectId=ID
//
// The recovery machine, once `cargo image` has made lifeboat.vhd; the last line is the recovery kit's:
//
//   az disk create --resource-group lifeboat --name lifeboat --location westeurope --os-type Linux \
//       --hyper-v-generation V2 --sku StandardSSD_LRS --upload-type Upload --upload-size-bytes $(stat --format %s lifeboat.vhd)
//   azcopy copy lifeboat.vhd "$(az disk grant-access --resource-group lifeboat --name lifeboat --access-level Write \
//       --duration-in-seconds 86400 --query accessSAS --output tsv)" --blob-type PageBlob
//   az disk revoke-access --resource-group lifeboat --name lifeboat
//   az deployment sub create … --parameters … withMachine=true
//   az vm deallocate --resource-group lifeboat --name lifeboat
//   az vm start --resource-group lifeboat --name lifeboat
//
// Its page is https://ADDRESS for whoever is in its network: it has no public address, and nothing of the Internet reaches it.
// Before the worst day choose a way in and try it: a VPN or ExpressRoute gateway, a peered network, Azure Bastion with a
// jump host in the subnet, or that jump host alone. The address:
//
//   az vm list-ip-addresses --resource-group lifeboat --name lifeboat --output table
//
// The retention of the container is made unlocked, so that it can be tried; lock it when it suits, for good:
//
//   az storage container immutability-policy lock --account-name ACCOUNT --container-name vault --if-match ETAG

targetScope = 'subscription'

@description('Name of the storage account, unique in all of Azure: 3 to 24 small letters and digits.')
@minLength(3)
@maxLength(24)
param accountName string

@description('Object id of the identity that the appliance writes with. It creates and reads; it can delete nothing.')
param writerObjectId string

@description('Object id of the identity that prunes. Keep it away from the appliance.')
param prunerObjectId string

@description('Region of everything.')
param location string = deployment().location

@description('Resource group of everything.')
param groupName string = 'lifeboat'

@description('Container of the vault.')
param containerName string = 'vault'

@description('Container of warm seeds: page blobs that follow the points of servers that must be up soon.')
param seedsName string = 'seeds'

@description('For so many days nobody can delete or overwrite what was written.')
@minValue(1)
@maxValue(146000)
param keptDays int = 7

@description('How many copies Azure keeps, and where.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_RAGRS'
  'Standard_GZRS'
  'Standard_RAGZRS'
])
param accountSku string = 'Standard_ZRS'

@description('Addresses of the network that recovered servers come into.')
param networkPrefix string = '10.90.0.0/16'

@description('Addresses of its subnet.')
param subnetPrefix string = '10.90.0.0/24'

@description('Whether to make the recovery machine; its disk must be uploaded first.')
param withMachine bool = false

@description('Size of the recovery machine.')
param machineSize string = 'Standard_D4s_v5'

// What recovery may do: the actions of the program's own calls, sorted, and nothing else.
var recoveryActions = [
  'Microsoft.Authorization/permissions/read'
  'Microsoft.Compute/disks/beginGetAccess/action'
  'Microsoft.Compute/disks/delete'
  'Microsoft.Compute/disks/endGetAccess/action'
  'Microsoft.Compute/disks/read'
  'Microsoft.Compute/disks/write'
  'Microsoft.Compute/locations/usages/read'
  'Microsoft.Compute/skus/read'
  'Microsoft.Compute/snapshots/beginGetAccess/action'
  'Microsoft.Compute/snapshots/delete'
  'Microsoft.Compute/snapshots/endGetAccess/action'
  'Microsoft.Compute/snapshots/read'
  'Microsoft.Compute/snapshots/write'
  'Microsoft.Compute/virtualMachines/deallocate/action'
  'Microsoft.Compute/virtualMachines/delete'
  'Microsoft.Compute/virtualMachines/instanceView/read'
  'Microsoft.Compute/virtualMachines/powerOff/action'
  'Microsoft.Compute/virtualMachines/read'
  'Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action'
  'Microsoft.Compute/virtualMachines/start/action'
  'Microsoft.Compute/virtualMachines/write'
  'Microsoft.Network/networkInterfaces/delete'
  'Microsoft.Network/networkInterfaces/join/action'
  'Microsoft.Network/networkInterfaces/read'
  'Microsoft.Network/networkInterfaces/write'
  'Microsoft.Network/networkSecurityGroups/delete'
  'Microsoft.Network/networkSecurityGroups/join/action'
  'Microsoft.Network/networkSecurityGroups/read'
  'Microsoft.Network/networkSecurityGroups/write'
  'Microsoft.Network/publicIPAddresses/delete'
  'Microsoft.Network/publicIPAddresses/join/action'
  'Microsoft.Network/publicIPAddresses/read'
  'Microsoft.Network/publicIPAddresses/write'
  'Microsoft.Network/virtualNetworks/delete'
  'Microsoft.Network/virtualNetworks/read'
  'Microsoft.Network/virtualNetworks/subnets/join/action'
  'Microsoft.Network/virtualNetworks/subnets/read'
  'Microsoft.Network/virtualNetworks/write'
  'Microsoft.Resources/subscriptions/resourceGroups/delete'
  'Microsoft.Resources/subscriptions/resourceGroups/read'
  'Microsoft.Resources/subscriptions/resourceGroups/write'
  'Microsoft.Resources/subscriptions/resources/read'
]

resource recoveryRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'lifeboat-recovery')
  properties: {
    roleName: 'Lifeboat recovery'
    description: 'Makes machines of recovery points and takes them away again'
    type: 'CustomRole'
    permissions: [
      {
        actions: recoveryActions
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [
      subscription().id
    ]
  }
}

// Writing without deleting: a blob that exists can be neither overwritten nor removed.
resource writerRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'lifeboat-writer')
  properties: {
    roleName: 'Lifeboat writer'
    description: 'Creates and reads objects of a vault'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read'
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: [
      subscription().id
    ]
  }
}

resource prunerRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'lifeboat-pruner')
  properties: {
    roleName: 'Lifeboat pruner'
    description: 'Reads, creates and deletes objects of a vault'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read'
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: [
      subscription().id
    ]
  }
}

resource group 'Microsoft.Resources/resourceGroups@2024-07-01' = {
  name: groupName
  location: location
}

module site 'site.bicep' = {
  scope: group
  name: 'lifeboat-site'
  params: {
    location: location
    accountName: accountName
    accountSku: accountSku
    containerName: containerName
    seedsName: seedsName
    keptDays: keptDays
    writerObjectId: writerObjectId
    writerRoleId: writerRole.id
    prunerObjectId: prunerObjectId
    prunerRoleId: prunerRole.id
    networkPrefix: networkPrefix
    subnetPrefix: subnetPrefix
    withMachine: withMachine
    machineSize: machineSize
  }
}

// The appliance orders drills and failovers itself.
resource writerRecovers 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, writerObjectId, 'lifeboat-recovery')
  properties: {
    roleDefinitionId: recoveryRole.id
    principalId: writerObjectId
    principalType: 'ServicePrincipal'
  }
}

// When the site is gone, the recovery machine does.
resource machineRecovers 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (withMachine) {
  name: guid(subscription().id, groupName, 'lifeboat-machine-recovery')
  properties: {
    roleDefinitionId: recoveryRole.id
    principalId: site.outputs.machineObjectId
    principalType: 'ServicePrincipal'
  }
}

output vault string = 'azure://${accountName}/${containerName}'
output subnetId string = site.outputs.subnetId
output startMachine string = 'az vm start --resource-group ${groupName} --name lifeboat'
