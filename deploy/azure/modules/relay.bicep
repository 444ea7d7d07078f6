// The relay as a Container App.
param name string
param location string
param tags object
param image string
param environmentId string
param registryEndpoint string
param identityId string
param identityClientId string
param openaiEndpoint string
param openaiDeployment string
param jwtJwksUri string
param jwtIssuer string
param jwtAudience string
param allowedOrigins string
param minReplicas int
param maxReplicas int
param redisUrl string
@secure()
param redisKey string
param prometheusServer string

// There is no image before the first `azd deploy`, and this one knows no /healthz: it gets no probes.
var placeholder = 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'

// Both listeners answer these; the operations port is the one that is never busy with users.
var probes = [
  {
    type: 'Startup'
    httpGet: { path: '/healthz', port: 9464 }
    // Container Apps takes a failureThreshold of 10 at most.
    periodSeconds: 3
    failureThreshold: 10
  }
  {
    type: 'Liveness'
    httpGet: { path: '/healthz', port: 9464 }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  }
  {
    type: 'Readiness'
    httpGet: { path: '/readyz', port: 9464 }
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 3
  }
]

// The identity is the login.
var redisVariables = [
  { name: 'RELAY_REDIS_URL', value: redisUrl }
  { name: 'RELAY_REDIS_ENTRA', value: 'on' }
  { name: 'RELAY_REDIS_KEY', secretRef: 'redis-key' }
]

var utilizationRules = [
  { name: 'cpu', custom: { type: 'cpu', metadata: { type: 'Utilization', value: '60' } } }
  { name: 'memory', custom: { type: 'memory', metadata: { type: 'Utilization', value: '70' } } }
]

// Half of limits.sessions on each replica, so that the loss of one finds room elsewhere.
var sessionRules = [
  {
    name: 'sessions'
    custom: {
      type: 'prometheus'
      metadata: {
        serverAddress: prometheusServer
        query: 'sum(relay_sessions_active)'
        threshold: '250'
      }
    }
  }
]

resource relay 'Microsoft.App/containerApps@2024-03-01' = {
  name: name
  location: location
  // By azd-service-name azd finds the app that belongs to the service of azure.yaml.
  tags: union(tags, { 'azd-service-name': 'relay' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    managedEnvironmentId: environmentId
    configuration: {
      activeRevisionsMode: 'Single'
      // Only the public port; nothing outside reaches the operations port. A connection that is idle for 240 s is cut: the
      // relay pings every 25 s. Nothing needs sticky sessions: replicas have Redis in common.
      ingress: {
        external: true
        targetPort: 8080
        transport: 'http'
        allowInsecure: false
      }
      secrets: empty(redisUrl) ? [] : [{ name: 'redis-key', value: redisKey }]
      registries: [{ server: registryEndpoint, identity: identityId }]
    }
    template: {
      // drain_seconds (25) and time to close; the platform's own 30 s would be close.
      terminationGracePeriodSeconds: 40
      containers: [
        {
          name: 'relay'
          image: empty(image) ? placeholder : image
          // A core comes with 2 GiB; 1 would do (docs/operations.md).
          resources: { cpu: json('1.0'), memory: '2Gi' }
          probes: empty(image) ? [] : probes
          env: concat(empty(redisUrl) ? [] : redisVariables, [
            { name: 'AZURE_OPENAI_ENDPOINT', value: openaiEndpoint }
            { name: 'AZURE_OPENAI_REALTIME_DEPLOYMENT', value: openaiDeployment }
            { name: 'AZURE_CLIENT_ID', value: identityClientId }
            { name: 'RELAY_JWT_JWKS_URI', value: jwtJwksUri }
            { name: 'RELAY_JWT_ISSUER', value: jwtIssuer }
            { name: 'RELAY_JWT_AUDIENCE', value: jwtAudience }
            { name: 'RELAY_ALLOWED_ORIGINS', value: allowedOrigins }
          ])
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        // The http rule counts new requests in 15 s and does not see open WebSockets; it would take replicas away from under
        // their sessions. CPU and memory see them, and a Prometheus counts them.
        rules: concat(utilizationRules, empty(prometheusServer) ? [] : sessionRules)
      }
    }
  }
}

output name string = relay.name
output url string = 'https://${relay.properties.configuration.ingress.fqdn}'
