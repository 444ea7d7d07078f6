import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ConfigMap, Namespace, Secret, Service, ServiceAccount } from 'kubernetes-models/v1';
import { describe, expect, it } from 'vitest';
import {
  base,
  built,
  isMap,
  isRemoval,
  kustomizationOf,
  type Manifest,
  merged,
  patchesOf,
  type Tree,
} from './kubernetes.js';
import { programAt } from './monitoring.js';

interface Model {
  new (data: never): { validate(): void };
  readonly apiVersion: string;
  readonly kind: string;
}

const models = [
  ConfigMap,
  Deployment,
  HorizontalPodAutoscaler,
  Namespace,
  NetworkPolicy,
  PodDisruptionBudget,
  Secret,
  Service,
  ServiceAccount,
] as unknown as Model[];

/** Kinds that Kubernetes itself does not have; what is said of them is checked by hand below. */
const foreign = ['ServiceMonitor'];

/** The fault the schema of its kind finds, or null. */
function faultOf(manifest: unknown): string | null {
  const { apiVersion, kind } = manifest as Manifest;
  const model = models.find((known) => known.apiVersion === apiVersion && known.kind === kind);
  if (!model) return `no schema for ${apiVersion} ${kind}`;
  try {
    new model(manifest as never).validate();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * Keys the schema does not know. It passes over those in silence, but says something to a value of a type that no field
 * has: where that too is passed over, there is no such field.
 */
function unknownKeys(manifest: Manifest): string[] {
  const found: string[] = [];
  const visit = (value: unknown, path: (string | number)[]): void => {
    if (Array.isArray(value)) for (const [at, element] of value.entries()) visit(element, [...path, at]);
    if (!isMap(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      const at = [...path, key];
      if (!['apiVersion', 'kind'].includes(key) && faultOf(replaced(manifest, at, Symbol())) === null) {
        found.push(`${manifest.kind} ${at.join('.')}`);
      }
      visit(inner, at);
    }
  };
  visit(manifest, []);
  return found;
}

function replaced(value: unknown, [key, ...rest]: readonly (string | number)[], by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.map((element, at) => (at === key ? replaced(element, rest, by) : element));
  const map = value as Record<string, unknown>;
  return { ...map, [key]: replaced(map[key], rest, by) };
}

const patches = patchesOf('overlays/azure');
const patched = base().flatMap((document) => {
  const own = patches.filter(
    ({ kind, metadata }) => kind === document.kind && metadata.name === document.metadata.name,
  );
  return own.some(isRemoval) ? [] : [own.reduce((result, patch) => merged(result, patch), document)];
});
const kubectl = programAt('kubectl');
if (kubectl === null)
  console.warn('kustomize is not run without kubectl in PATH: https://kubernetes.io/docs/tasks/tools');
const sets = [
  ['the base', base()],
  ['the base with the patches of the overlay for Azure', patched],
  ...(kubectl === null ? [] : ([['what kustomize makes of the overlay', built(kubectl, 'overlays/azure')]] as const)),
] as const;

function podOf(documents: readonly Manifest[]): Tree {
  return documents.find(({ kind }) => kind === 'Deployment')?.spec.template as Tree;
}

describe.each(sets)('%s', (_, documents) => {
  const own = documents.filter(({ kind }) => !foreign.includes(kind));
  const find = (kind: string) => documents.find((document) => document.kind === kind) as Manifest;

  it('is accepted by the schemas of Kubernetes', () => {
    expect(own.length).toBeGreaterThan(6);
    expect(own.map(faultOf).filter((fault) => fault !== null)).toEqual([]);
  });

  it('has no key that Kubernetes does not know', () => {
    expect(own.flatMap(unknownKeys)).toEqual([]);
  });

  it('runs with as few rights as a relay needs', () => {
    const pod = podOf(documents).spec;
    expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
    expect(pod?.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod?.containers?.[0]?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('selects its own pods everywhere, and names ports that the pod has', () => {
    const pod = podOf(documents);
    const selectors = [
      find('Deployment').spec.selector?.matchLabels,
      find('Service').spec.selector,
      find('PodDisruptionBudget').spec.selector?.matchLabels,
      find('NetworkPolicy').spec.podSelector?.matchLabels,
    ];
    for (const selector of selectors) expect(pod.metadata?.labels).toMatchObject(selector as Tree);
    expect(pod.spec?.containers?.[0]?.ports).toMatchObject([{ name: 'http' }, { name: 'ops' }]);
    expect(find('Service').spec.ports).toMatchObject([{ targetPort: 'http' }, { targetPort: 'ops' }]);
    expect(find('ServiceMonitor').spec.endpoints).toEqual([{ port: 'ops', path: '/metrics', interval: '15s' }]);
    expect(find('HorizontalPodAutoscaler').spec.scaleTargetRef?.name).toBe(find('Deployment').metadata.name);
  });

  it('lets only monitoring reach the operations port', () => {
    expect(find('NetworkPolicy').spec.ingress).toEqual([
      { ports: [{ port: 'http', protocol: 'TCP' }] },
      {
        ports: [{ port: 'ops', protocol: 'TCP' }],
        from: [expect.objectContaining({ namespaceSelector: expect.anything() })],
      },
    ]);
  });
});

describe('the Redis of the base', () => {
  const find = (kind: string, name: string) =>
    base().find((document) => document.kind === kind && document.metadata.name === name) as Manifest;
  const redis = find('Deployment', 'redis');
  const relay = podOf(base()).spec?.containers?.[0];
  const envOf = (container: Tree | undefined) => Object.values(container?.env ?? {}) as unknown as { name: string }[];

  it('throws nothing away, runs with few rights, and is one', () => {
    const { spec } = redis.spec.template as Tree;
    expect(redis.spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } });
    expect(spec).toMatchObject({ automountServiceAccountToken: false, securityContext: { runAsNonRoot: true } });
    const container = spec?.containers?.[0] as Tree;
    expect(container.image).toMatch(/:\d+\.\d+\.\d+$/);
    expect(container.securityContext).toMatchObject({ readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    const args = (container.args as unknown as string[]).join(' ');
    expect(args).toContain('--maxmemory-policy noeviction');
    expect(args).toContain('--requirepass $(REDIS_PASSWORD)');
  });

  it('is reached by relays, where they look for it and with the password it has, and by nobody else', () => {
    const service = find('Service', 'redis');
    expect(service.spec.selector).toEqual(redis.spec.selector?.matchLabels);
    const [port] = service.spec.ports as unknown as { port: number }[];
    const url = envOf(relay).find(({ name }) => name === 'RELAY_REDIS_URL');
    expect(url).toMatchObject({ value: `redis://:$(REDIS_PASSWORD)@${service.metadata.name}:${port?.port}` });
    const password = { valueFrom: { secretKeyRef: { name: 'relay-redis', key: 'password' } } };
    expect(envOf(relay).find(({ name }) => name === 'REDIS_PASSWORD')).toMatchObject(password);
    expect(envOf(relay).find(({ name }) => name === 'RELAY_REDIS_KEY')).toBeDefined();
    const server = (redis.spec.template as Tree).spec?.containers?.[0];
    expect(envOf(server)).toMatchObject([{ name: 'REDIS_PASSWORD', ...password }]);
    const relays = { podSelector: { matchLabels: find('Deployment', 'realtime-relay').spec.selector?.matchLabels } };
    const redises = { podSelector: { matchLabels: redis.spec.selector?.matchLabels } };
    expect(find('NetworkPolicy', 'redis').spec).toMatchObject({ ...redises, ingress: [{ from: [relays] }] });
    expect(find('NetworkPolicy', 'realtime-relay-redis').spec).toMatchObject({
      ...relays,
      egress: [{ to: [redises], ports: [{ port: port?.port }] }],
    });
  });
});

describe('the check itself', () => {
  it('finds a misspelt key and a wrong type', () => {
    const document = base().find(({ kind }) => kind === 'Deployment') as Manifest;
    const misspelt = merged(document, { spec: { template: { spec: { terminationGracePeriodSecond: 40 } } } });
    expect(unknownKeys(misspelt)).toEqual(['Deployment spec.template.spec.terminationGracePeriodSecond']);
    expect(faultOf(merged(document, { spec: { minReadySeconds: 'soon' } }))).toContain('minReadySeconds');
  });
});

describe('the overlay for Azure', () => {
  it('gives the pod the identity of its service account', () => {
    const account = patched.find(({ kind }) => kind === 'ServiceAccount');
    const pod = podOf(patched);
    expect(account?.metadata.annotations).toHaveProperty('azure.workload.identity/client-id');
    expect(pod.metadata?.labels).toMatchObject({ 'azure.workload.identity/use': 'true' });
    expect(pod.spec?.serviceAccountName).toBe(account?.metadata.name);
  });

  it.each(sets.slice(1))('has the Redis of Azure, with the identity as its login: %s', (_, documents) => {
    const named = (name: string) => documents.filter(({ metadata }) => metadata.name === name);
    expect(named('redis')).toEqual([]);
    const env = Object.values(podOf(documents).spec?.containers?.[0]?.env ?? {}) as unknown as { name: string }[];
    const value = (name: string) => env.filter((one) => one.name === name);
    expect(value('RELAY_REDIS_URL')).toEqual([
      { name: 'RELAY_REDIS_URL', value: expect.stringMatching(/^rediss:.*:10000$/) },
    ]);
    expect(value('RELAY_REDIS_ENTRA')).toMatchObject([{ value: 'on' }]);
    expect(value('RELAY_REDIS_KEY')).toHaveLength(1);
    expect(named('realtime-relay-redis')[0]?.spec.egress).toEqual([{ ports: [{ port: 10000, protocol: 'TCP' }] }]);
  });

  it('patches what exists', () => {
    const names = base().map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(patches.map(({ kind, metadata }) => `${kind} ${metadata.name}`).every((name) => names.includes(name))).toBe(
      true,
    );
    expect(kustomizationOf('overlays/azure').resources).toEqual(['../../base']);
  });
});
