// What replicas have in common: Azure Managed Redis, without keys; the relay's identity may use it.
param name string
param location string
param tags object
param relayPrincipalId string

resource redis 'Microsoft.Cache/redisEnterprise@2025-04-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Balanced_B0' }
  properties: {
    minimumTlsVersion: '1.2'
    highAvailability: 'Enabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-04-01' = {
  parent: redis
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: 'NoCluster'
    // What is thrown away to make room would be withdrawn tokens and used budgets.
    evictionPolicy: 'NoEviction'
    accessKeysAuthentication: 'Disabled'
  }
}

resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-04-01' = {
  parent: database
  name: 'relay'
  properties: {
    accessPolicyName: 'default'
    user: { objectId: relayPrincipalId }
  }
}

output url string = 'rediss://${redis.properties.hostName}:10000'
