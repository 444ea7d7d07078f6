import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configFileSchema } from '../../src/config/file.js';
import { loadConfig } from '../../src/config/load.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { faultOf } from '../../src/upstream/causes.js';
import { textOf } from '../project/tables.js';
import { base, type Tree } from './kubernetes.js';
import { alerts, board, recordings } from './monitoring.js';

const { limits, port, opsPort } = loadConfig({
  AZURE_OPENAI_ENDPOINT: 'https://a.example',
  AZURE_OPENAI_REALTIME_DEPLOYMENT: 'd',
  RELAY_JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough',
  RELAY_JWT_ISSUER: 'i',
  RELAY_JWT_AUDIENCE: 'a',
});
const compose = parse(textOf('docker-compose.yml'));
const pod = base().find(({ kind }) => kind === 'Deployment')?.spec.template?.spec as Tree;
const container = pod.containers?.[0] as Tree;
const app = textOf('deploy/azure/modules/relay.bicep');
const relayYaml = parse(textOf('deploy/kubernetes/base/relay.yaml'));

const isAbout = (name: string) => (one: { readonly alert: string }) => one.alert === name;

/** What Kubernetes and Compose call an amount of memory, in bytes. */
function bytesOf(amount: unknown): number {
  const [, number, unit] = /^(\d+)(Mi|Gi|g)$/.exec(String(amount)) ?? [];
  return Number(number) * 1024 ** (unit === 'Mi' ? 2 : 3);
}

describe('the numbers of the deployments', () => {
  it('leave time to close after the drain, everywhere', () => {
    const graces = [
      Number.parseInt(compose.services.relay.stop_grace_period, 10),
      Number(pod.terminationGracePeriodSeconds),
      Number(/terminationGracePeriodSeconds: (\d+)/.exec(app)?.[1]),
    ];
    for (const grace of graces) expect(grace).toBeGreaterThanOrEqual(limits.drain_seconds + 10);
  });

  it('keep pings below every idle time-out that is written down', () => {
    const operations = textOf('docs/operations.md');
    const [, row] = /^\| `ping_seconds` \| (.+)$/m.exec(operations) ?? [];
    const [ping, ...others] = [...(row ?? '').matchAll(/(\d+) s/g)].map(([, seconds]) => Number(seconds));
    expect(ping).toBe(limits.ping_seconds);
    expect(others).toEqual([240, 230, 60]);
    expect(Math.min(...others)).toBeGreaterThan(limits.ping_seconds + limits.pong_seconds);
  });

  it('count with the same number of sessions', () => {
    const target = base().find(({ kind }) => kind === 'HorizontalPodAutoscaler')?.spec.metrics?.[0];
    expect(target?.pods).toMatchObject({
      metric: { name: 'relay_sessions_active' },
      target: { averageValue: String(limits.sessions / 2) },
    });
    expect(app).toContain(`threshold: '${limits.sessions / 2}'`);
  });

  it('call a relay busy when it lets nobody in', () => {
    const threshold = alerts.find(isAbout('RelayBusy'))?.expr;
    expect(threshold).toBe(`relay_loop_delay_seconds > ${limits.busy_delay_ms / 1000}`);
  });

  it('give the memory that so many sessions need, and warn before the platform takes the process', () => {
    const operations = textOf('docs/operations.md');
    const measured = (what: string) => Number(new RegExp(`^\\| ${what} \\| ([\\d.]+)`, 'm').exec(operations)?.[1]);
    const sessions = (measured('a process') + limits.sessions * measured('a talking session')) * 1e6;
    const granted = [
      bytesOf(container.resources?.limits?.memory),
      bytesOf(compose.services.relay.mem_limit),
      bytesOf(/resources: \{ cpu: .+, memory: '(\w+)' \}/.exec(app)?.[1]),
    ];
    for (const bytes of granted) expect(sessions + (measured('what waits') * bytes) / 3).toBeLessThan(bytes);
    expect(bytesOf(container.resources?.requests?.memory)).toBeGreaterThan(sessions);
    const least = Math.min(...granted);
    const [, threshold] = /> (\d+) \* 1024 \* 1024/.exec(alerts.find(isAbout('RelayMemoryHigh'))?.expr ?? '') ?? [];
    expect((Number(threshold) * 1024 * 1024) / least).toBeCloseTo(0.8, 1);
  });

  it('repeat the defaults in the file of Kubernetes, which has no key that does not exist', () => {
    for (const [name, value] of Object.entries(relayYaml.limits)) {
      expect(limits[name as keyof typeof limits], name).toBe(value);
    }
    const { properties } = configFileSchema() as { properties: object };
    expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(relayYaml)));
  });
});

describe('the ports and paths of the deployments', () => {
  const [dockerfile, prometheus] = [textOf('Dockerfile'), parse(textOf('deploy/prometheus/prometheus.yml'))];

  it('are those of the relay', () => {
    expect(dockerfile).toContain(`EXPOSE ${port} ${opsPort}`);
    expect(container.ports).toMatchObject([{ containerPort: port }, { containerPort: opsPort }]);
    expect(app).toContain(`targetPort: ${port}`);
    expect(prometheus.scrape_configs[0].static_configs[0].targets).toEqual([`relay:${opsPort}`]);
    expect(compose.services.emulator.networks.default.aliases).toEqual(['relay']);
  });

  it('ask the operations port for health, and not readiness whether to kill', () => {
    const paths = [container.startupProbe, container.livenessProbe, container.readinessProbe].map(
      (probe) => probe?.httpGet,
    );
    expect(paths).toEqual([
      { path: '/healthz', port: 'ops' },
      { path: '/healthz', port: 'ops' },
      { path: '/readyz', port: 'ops' },
    ]);
    expect(
      [...app.matchAll(/type: '(\w+)'\n\s+httpGet: \{ path: '(\/\w+)', port: (\d+)/g)].map((found) => found.slice(1)),
    ).toEqual([
      ['Startup', '/healthz', String(opsPort)],
      ['Liveness', '/healthz', String(opsPort)],
      ['Readiness', '/readyz', String(opsPort)],
    ]);
  });

  it('run as the user of the image, whose number is 1000 in the images of Node', () => {
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(pod.securityContext).toMatchObject({ runAsUser: 1000, runAsGroup: 1000 });
  });
});

describe('docker-compose.yml', () => {
  const services = Object.entries(compose.services) as [
    string,
    { image: string; ports?: string[]; healthcheck?: object },
  ][];

  it('publishes to this machine only, pins what it pulls and knows the health of everything', () => {
    for (const [name, { image, ports = [], healthcheck }] of services) {
      expect(ports.every((published) => published.startsWith('127.0.0.1:'))).toBe(true);
      expect(healthcheck, name).toBeDefined();
      if (image !== 'realtime-relay') expect(image).toMatch(/:v?\d+\.\d+\.\d+$/);
    }
  });

  it('mounts what exists', () => {
    const mounted = services.flatMap(([, service]) => (service as { volumes?: string[] }).volumes ?? []);
    const paths = mounted.map((volume) => volume.split(':')[0] ?? '').filter((path) => path.startsWith('./'));
    expect(paths.length).toBe(4);
    expect(paths.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)))).toEqual([]);
  });
});

describe('the replicas of docker-compose.yml', () => {
  const { redis, haproxy, relay, 'relay-a': a, 'relay-b': b } = compose.services;
  const proxy = textOf('deploy/proxy/replicas.cfg');

  it('are started only where they are asked for, and are as the relay beside them but for their ports and Redis', () => {
    for (const one of [redis, haproxy, a, b]) expect(one.profiles).toEqual(['replicas']);
    const of = ({ environment }: { environment: Record<string, string> }) => {
      const { PORT, RELAY_OPS_PORT, RELAY_REDIS_URL, RELAY_REDIS_KEY, ...rest } = environment;
      return { own: [PORT, RELAY_OPS_PORT], redis: [RELAY_REDIS_URL, RELAY_REDIS_KEY], rest };
    };
    for (const one of [a, b]) expect(of(one).rest).toEqual(relay.environment);
    expect(of(a).redis).toEqual(of(b).redis);
    const [, key = ''] = /:-(.+)\}$/.exec(a.environment.RELAY_REDIS_KEY) ?? [];
    expect(Buffer.from(key, 'base64')).toHaveLength(32);
    const servers = [...proxy.matchAll(/^ {2}server \w+ relay:(\d+) check port (\d+)$/gm)].map(([, ...ports]) => ports);
    expect(servers).toEqual([of(a).own, of(b).own]);
    expect(haproxy.ports).toEqual([`127.0.0.1:${/bind :(\d+)/.exec(proxy)?.[1]}:8088`]);
    expect(redis.command.join(' ')).toContain('--maxmemory-policy noeviction');
  });
});

describe('the alerts', () => {
  const runbook = textOf('docs/runbook.md');
  const headings = [...runbook.matchAll(/^## (\w+)$/gm)].map(([, name]) => name as string);

  it('have an entry of the runbook each, and it has no other', () => {
    expect(headings).toEqual(expect.arrayContaining(alerts.map(({ alert }) => alert)));
    expect(headings).toHaveLength(alerts.length);
    for (const { alert, annotations } of alerts) {
      expect(annotations.runbook_url).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
      expect(annotations.summary && annotations.description).toBeTruthy();
    }
  });

  it('have a severity each, and cases in which they fire and do not', () => {
    const { tests } = parse(textOf('deploy/prometheus/alerts.test.yml'), { maxAliasCount: 0 }) as {
      tests: { alert_rule_test: [{ alertname: string; exp_alerts: unknown[] }] }[];
    };
    for (const { alert, labels } of alerts) {
      expect(['critical', 'warning']).toContain(labels.severity);
      const cases = tests.map(({ alert_rule_test: [one] }) => one).filter(({ alertname }) => alertname === alert);
      expect(
        cases.some(({ exp_alerts }) => exp_alerts.length > 0),
        `${alert} fires`,
      ).toBe(true);
      expect(
        cases.some(({ exp_alerts }) => exp_alerts.length === 0),
        `${alert} stays quiet`,
      ).toBe(true);
    }
  });
});

describe('the dashboard', () => {
  const charts = board.panels.filter(({ type }) => type !== 'row');
  const own = createMetrics({ process: false, replicated: true })
    .registry.getMetricsAsArray()
    .map(({ name }) => name);
  const all = createMetrics({ replicated: true })
    .registry.getMetricsAsArray()
    .map(({ name }) => name);
  const expressions = charts.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

  it('shows every metric of the relay', () => {
    expect(own.filter((name) => !expressions.some((expr) => expr.includes(name)))).toEqual([]);
  });

  it('names no metric that does not exist, nor do the rules', () => {
    const records = recordings.map(({ record }) => record);
    const rules = [...alerts, ...recordings].map(({ expr }) => expr);
    const named = [...expressions, ...rules].flatMap(
      (expr) =>
        records.reduce((text, record) => text.replaceAll(record, ''), expr).match(/\b(?:relay|nodejs|process)_\w+/g) ??
        [],
    );
    const known = all.flatMap((name) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]);
    expect(named.length).toBeGreaterThan(80);
    expect([...new Set(named)].filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each([
    ['missing_role', 'Us'],
    ['deployment_not_found', 'Us'],
    ['wrong_path', 'Us'],
    ['credential', 'Us'],
    ['throttled', 'Azure'],
    ['reset', 'Network to Azure'],
  ])('shows a dial that failed for %s under "%s" alone', (kind, title) => {
    const origin = faultOf({ kind }) ?? 'none';
    const shares = board.panels.filter(({ type, targets }) =>
      targets?.some(({ expr }) => type === 'stat' && new RegExp(`origin=~?"[a-z|]*\\b${origin}\\b`).test(expr)),
    );
    expect(shares.map((panel) => panel.title)).toEqual([title]);
  });

  it('explains every panel, and none lies over another', () => {
    const taken = new Set<string>();
    for (const { title, description, gridPos, type } of board.panels) {
      if (type !== 'row') expect(description, title).toBeTruthy();
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
    }
    expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
  });

  it('takes its data from the source that is chosen', () => {
    expect(charts.every(({ datasource }) => datasource?.uid === `$${'{datasource}'}`)).toBe(true);
    expect(board.templating.list.map(({ name }) => name)).toEqual(['datasource', 'instance']);
  });
});
