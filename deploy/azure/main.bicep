// Everything the relay needs: `azd up`, or `az deployment sub create -l <region> -f main.bicep -p …`.
targetScope = 'subscription'

@description('Name of the azd environment; part of every name.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Region of all resources; it must offer the model.')
param location string

@description('Object id of whoever deploys, for the same role as the relay: `check --dial` from your own machine. Empty: nobody.')
param principalId string = ''

@description('User or ServicePrincipal; what principalId is.')
@allowed(['User', 'ServicePrincipal'])
param principalType string = 'User'

@description('Image that runs now; azd sets it. Empty at the first deployment: a placeholder that answers on the port.')
param relayImage string = ''

@description('Realtime model, such as gpt-realtime or gpt-realtime-mini.')
param modelName string = 'gpt-realtime'

@description('Version of the model; see the model list of your region.')
param modelVersion string = '2025-08-28'

@description('Quota of the deployment, in the units of its SKU.')
@minValue(1)
param modelCapacity int = 10

@description('How app tokens are verified: address of the key set of your identity provider.')
param jwtJwksUri string

@description('Required iss of app tokens.')
param jwtIssuer string

@description('Required aud of app tokens.')
param jwtAudience string = 'realtime-relay'

@description('Comma-separated origins of web pages that may connect. Empty: none.')
param allowedOrigins string = ''

@description('Replicas at least; 0 would make the first caller wait for a container.')
@minValue(1)
param minReplicas int = 1

@description('Replicas at most.')
@minValue(1)
param maxReplicas int = 10

@description('Azure Managed Redis, so that replicas are one relay. Without it there can be one replica only.')
param redis bool = maxReplicas > 1

@description('What replicas seal what they say in Redis with: 32 bytes, base64. Left out: a new one at each provisioning.')
@secure()
param redisKey string = base64(replace(newGuid(), '-', ''))

@description('Address of a Prometheus that has the metrics of every replica, to scale by sessions. Empty: by CPU and memory alone.')
param prometheusServer string = ''

// Without Redis each replica would count for itself, and a client secret be good at one of them.
var mostReplicas = redis || maxReplicas == 1 ? maxReplicas : fail('More than one replica needs redis: true, or set maxReplicas to 1.')
var tags = { 'azd-env-name': environmentName }
var token = uniqueString(subscription().id, environmentName, location)

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: {
    name: 'id-relay-${token}'
    location: location
    tags: tags
  }
}

module openai 'modules/openai.bicep' = {
  scope: group
  name: 'openai'
  params: {
    name: 'aoai-${token}'
    location: location
    tags: tags
    modelName: modelName
    modelVersion: modelVersion
    modelCapacity: modelCapacity
    relayPrincipalId: identity.outputs.principalId
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
  }
}

module platform 'modules/platform.bicep' = {
  scope: group
  name: 'platform'
  params: {
    token: token
    location: location
    tags: tags
    relayPrincipalId: identity.outputs.principalId
  }
}

module store 'modules/redis.bicep' = if (redis) {
  scope: group
  name: 'redis'
  params: {
    name: 'redis-${token}'
    location: location
    tags: tags
    relayPrincipalId: identity.outputs.principalId
  }
}

module relay 'modules/relay.bicep' = {
  scope: group
  name: 'relay'
  params: {
    name: 'ca-relay-${token}'
    location: location
    tags: tags
    image: relayImage
    environmentId: platform.outputs.environmentId
    registryEndpoint: platform.outputs.registryEndpoint
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    openaiEndpoint: openai.outputs.endpoint
    openaiDeployment: openai.outputs.deployment
    jwtJwksUri: jwtJwksUri
    jwtIssuer: jwtIssuer
    jwtAudience: jwtAudience
    allowedOrigins: allowedOrigins
    minReplicas: minReplicas
    maxReplicas: mostReplicas
    redisUrl: redis ? store.outputs.url : ''
    redisKey: redisKey
    prometheusServer: prometheusServer
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
// azd pushes the image here.
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = platform.outputs.registryEndpoint
output AZURE_OPENAI_ENDPOINT string = openai.outputs.endpoint
output AZURE_OPENAI_REALTIME_DEPLOYMENT string = openai.outputs.deployment
output SERVICE_RELAY_NAME string = relay.outputs.name
output RELAY_URL string = relay.outputs.url
