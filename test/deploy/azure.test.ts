import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { environment } from '../../src/config/environment.js';
import { textOf } from '../project/tables.js';
import { templateOf, unbalanced, undeclared, unused } from './bicep.js';

const main = templateOf('main.bicep');
const modules = main.modules.map(({ path }) => templateOf(path));
const module = (path: string) => modules.find((template) => template.path === path)?.text ?? '';

describe.each([main, ...modules])('$path', (template) => {
  it('closes what it opens, uses what it declares and declares what it uses', () => {
    expect(unbalanced(template)).toEqual([]);
    expect(undeclared(template)).toEqual([]);
    expect(unused(template)).toEqual([]);
  });
});

describe('main.bicep', () => {
  it('gives every module what it asks for and nothing else', () => {
    for (const { given, path } of main.modules) {
      const { params } = templateOf(path);
      expect(given.toSorted(), path).toEqual(params.map(({ name }) => name).toSorted());
    }
  });

  it('reads only outputs that its modules have', () => {
    const read = [...main.code.matchAll(/\b(\w+)\.outputs\.(\w+)/g)];
    expect(read.length).toBeGreaterThan(8);
    for (const [, name, output] of read) {
      const { path } = main.modules.find((known) => known.name === name) ?? { path: '' };
      expect(templateOf(path).outputs, `${name}.outputs`).toContain(output);
    }
  });

  it('is given every parameter without a default, and none that it does not have', () => {
    const { parameters } = JSON.parse(textOf('deploy/azure/main.parameters.json'));
    const names = main.params.map(({ name }) => name);
    expect(Object.keys(parameters).filter((name) => !names.includes(name))).toEqual([]);
    const required = main.params.filter((param) => param.required).map(({ name }) => name);
    expect(Object.keys(parameters)).toEqual(expect.arrayContaining(required));
  });

  it('is what azd looks for', () => {
    const { infra, services } = parse(textOf('azure.yaml'));
    expect(infra).toEqual({ provider: 'bicep', path: 'deploy/azure' });
    expect(services.relay).toMatchObject({ host: 'containerapp', project: '.', docker: { path: './Dockerfile' } });
    expect(existsSync(new URL('../../Dockerfile', import.meta.url))).toBe(true);
    expect(main.text).toContain("'azd-env-name': environmentName");
    expect(module('modules/relay.bicep')).toContain("'azd-service-name': 'relay'");
    expect(main.outputs).toEqual(
      expect.arrayContaining(['AZURE_CONTAINER_REGISTRY_ENDPOINT', 'AZURE_OPENAI_ENDPOINT']),
    );
  });
});

describe('the resources', () => {
  it('know no key: the relay has an identity, and that the role on the account', () => {
    const openai = module('modules/openai.bicep');
    expect(openai).toContain('disableLocalAuth: true');
    expect(openai).toContain('5e0bd9bd-7b93-4f28-af87-19fc36ad61bd');
    expect(openai).toContain('customSubDomainName: name');
    expect(module('modules/relay.bicep')).toContain("type: 'UserAssigned'");
    expect(module('modules/platform.bicep')).toContain('adminUserEnabled: false');
    expect([main, ...modules].filter(({ text }) => text.includes('API_KEY'))).toEqual([]);
  });

  it('set only variables that the relay reads', () => {
    const set = [...module('modules/relay.bicep').matchAll(/\{ name: '([A-Z_]+)'/g)].map(([, name]) => name);
    expect(set.length).toBeGreaterThan(5);
    expect(Object.keys(environment.shape)).toEqual(expect.arrayContaining(set));
  });

  it('have Redis wherever there may be more than one replica, which nobody has a key of and which throws nothing away', () => {
    expect(main.text).toContain('param redis bool = maxReplicas > 1');
    expect(main.text).toMatch(/redis \|\| maxReplicas == 1 \? maxReplicas : fail\('[^']+'\)/);
    expect(main.text).toContain("redisUrl: redis ? store.outputs.url : ''");
    const redis = module('modules/redis.bicep');
    expect(redis).toContain("accessKeysAuthentication: 'Disabled'");
    expect(redis).toContain("evictionPolicy: 'NoEviction'");
    expect(redis).toContain("clientProtocol: 'Encrypted'");
    expect(redis).toContain('user: { objectId: relayPrincipalId }');
    expect(redis).toMatch(/port: (\d+)[\s\S]*rediss:\/\/\$\{redis\.properties\.hostName\}:\1'/);
    expect(module('modules/relay.bicep')).toContain("{ name: 'RELAY_REDIS_KEY', secretRef: 'redis-key' }");
    // A guid is 32 letters without its dashes.
    expect(main.text).toMatch(/@secure\(\)\nparam redisKey string = base64\(replace\(newGuid\(\), '-', ''\)\)/);
  });

  it('are not scaled by requests, which do not show open WebSockets', () => {
    const relay = module('modules/relay.bicep');
    expect([...relay.matchAll(/custom: \{\s*type: '(\w+)'/g)].map(([, type]) => type)).toEqual([
      'cpu',
      'memory',
      'prometheus',
    ]);
    expect(relay).not.toMatch(/\n\s*http: \{/);
    expect(main.text).toContain('param minReplicas int = 1');
  });
});

describe('the check itself', () => {
  it('notices an undeclared name, an unused one and an open bracket', () => {
    const broken = { ...main, code: `${main.code}\nvar idle = [locatoin` };
    expect(undeclared(broken)).toEqual(['locatoin']);
    expect(unused(broken)).toEqual(['idle']);
    expect(unbalanced(broken)).toEqual(['[']);
  });
});
