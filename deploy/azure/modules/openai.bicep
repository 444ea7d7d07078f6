// The Azure OpenAI resource with one realtime deployment, open to identities with the role and to no key.
param name string
param location string
param tags object
param modelName string
param modelVersion string
param modelCapacity int
param relayPrincipalId string
param deployerPrincipalId string
param deployerPrincipalType string

// Cognitive Services OpenAI User
var openaiUser = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
)

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    // Entra tokens work only with a name of its own.
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
  }
}

resource deployment 'Microsoft.CognitiveServices/accounts/deployments@2024-10-01' = {
  parent: account
  name: 'gpt-realtime'
  sku: { name: 'GlobalStandard', capacity: modelCapacity }
  properties: {
    model: { format: 'OpenAI', name: modelName, version: modelVersion }
    // A new version may take other session fields: change modelVersion and run `check --dial`.
    versionUpgradeOption: 'NoAutoUpgrade'
  }
}

resource relayRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, relayPrincipalId, openaiUser)
  properties: {
    roleDefinitionId: openaiUser
    principalId: relayPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource deployerRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  scope: account
  name: guid(account.id, deployerPrincipalId, openaiUser)
  properties: {
    roleDefinitionId: openaiUser
    principalId: deployerPrincipalId
    principalType: deployerPrincipalType
  }
}

output endpoint string = account.properties.endpoint
output deployment string = deployment.name
