// What is in the resource group: account, containers, network, and the recovery machine. Deployed by lifeboat.bicep.

param location string
param accountName string
param accountSku string
param containerName string
param seedsName string
param keptDays int
param writerObjectId string
param writerRoleId string
param prunerObjectId string
param prunerRoleId string
param networkPrefix string
param subnetPrefix string
param withMachine bool
param machineSize string

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: accountName
  location: location
  kind: 'StorageV2'
  sku: {
    name: accountSku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    // Identities only: a key that leaks opens everything.
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource vault 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: containerName
  properties: {
    publicAccess: 'None'
  }
}

resource kept 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2023-05-01' = {
  parent: vault
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: keptDays
    allowProtectedAppendWrites: false
  }
}

// Page blobs that change with each point, so nothing is kept by force here.
resource seeds 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: seedsName
  properties: {
    publicAccess: 'None'
  }
}

resource writes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, writerObjectId, writerRoleId)
  properties: {
    roleDefinitionId: writerRoleId
    principalId: writerObjectId
    principalType: 'ServicePrincipal'
  }
}

// Azure's own role «Storage Blob Data Contributor».
var contributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var contributorRoleId = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', contributor)

resource keepsSeeds 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: seeds
  name: guid(seeds.id, writerObjectId, contributorRoleId)
  properties: {
    roleDefinitionId: contributorRoleId
    principalId: writerObjectId
    principalType: 'ServicePrincipal'
  }
}

resource prunes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, prunerObjectId, prunerRoleId)
  properties: {
    roleDefinitionId: prunerRoleId
    principalId: prunerObjectId
    principalType: 'ServicePrincipal'
  }
}

resource security 'Microsoft.Network/networkSecurityGroups@2024-03-01' = {
  name: 'lifeboat'
  location: location
  properties: {
    // Azure's own rules: from the network and its peers in, everything out, nothing from the Internet.
    securityRules: []
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-03-01' = {
  name: 'lifeboat'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        networkPrefix
      ]
    }
    subnets: [
      {
        name: 'recovered'
        properties: {
          addressPrefix: subnetPrefix
          networkSecurityGroup: {
            id: security.id
          }
          serviceEndpoints: [
            {
              service: 'Microsoft.Storage'
            }
          ]
        }
      }
    ]
  }
}

// Uploaded beforehand: a template can make a disk, but not fill it.
resource disk 'Microsoft.Compute/disks@2024-03-02' existing = {
  name: 'lifeboat'
}

resource interface 'Microsoft.Network/networkInterfaces@2024-03-01' = if (withMachine) {
  name: 'lifeboat'
  location: location
  properties: {
    ipConfigurations: [
      {
        name: 'ipconfig1'
        properties: {
          primary: true
          privateIPAllocationMethod: 'Dynamic'
          subnet: {
            id: network.properties.subnets[0].id
          }
        }
      }
    ]
  }
}

resource machine 'Microsoft.Compute/virtualMachines@2024-07-01' = if (withMachine) {
  name: 'lifeboat'
  location: location
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    hardwareProfile: {
      vmSize: machineSize
    }
    storageProfile: {
      osDisk: {
        createOption: 'Attach'
        osType: 'Linux'
        managedDisk: {
          id: disk.id
        }
        deleteOption: 'Detach'
      }
    }
    networkProfile: {
      networkInterfaces: [
        {
          id: interface.id
          properties: {
            primary: true
            deleteOption: 'Detach'
          }
        }
      ]
    }
    diagnosticsProfile: {
      bootDiagnostics: {
        enabled: true
      }
    }
  }
}

// The machine reads the vault and writes its orders there; it deletes nothing of it.
resource machineWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (withMachine) {
  scope: vault
  name: guid(vault.id, 'lifeboat-machine', writerRoleId)
  properties: {
    roleDefinitionId: writerRoleId
    principalId: machine!.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

// Warm seeds: a failover copies them, and its copies go when its disks are made.
resource machineKeepsSeeds 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (withMachine) {
  scope: seeds
  name: guid(seeds.id, 'lifeboat-machine', contributorRoleId)
  properties: {
    roleDefinitionId: contributorRoleId
    principalId: machine!.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

output subnetId string = network.properties.subnets[0].id
output machineObjectId string = withMachine ? machine!.identity.principalId : ''
