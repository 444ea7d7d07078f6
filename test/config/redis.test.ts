import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { describeSettings, secretsOf } from '../../src/config/redact.js';
import { problemsOf, settingsOf } from '../support/settings.js';

const load = (env: Record<string, string>, yaml = '') => settingsOf(yaml, env);
const problems = (env: Record<string, string>, yaml = '') => problemsOf(yaml, env);

const url = (value: string, rest: Record<string, string> = {}) => ({ RELAY_REDIS_URL: value, ...rest });

describe('RELAY_REDIS_URL', () => {
  it('says where Redis is, as whom it is asked, and which database is meant', () => {
    expect(load(url('redis://127.0.0.1')).redis).toEqual({
      addresses: [{ host: '127.0.0.1', port: 6379 }],
      tls: false,
      username: '',
      password: '',
      database: 0,
      isCluster: false,
      scope: null,
      prefix: 'rly:',
      keys: null,
      when_lost: 'local',
      ready: 'ignore',
    });
    expect(load(url('rediss://relay:p%40ss%2Fword@Cache.example.com:10000/3')).redis).toMatchObject({
      addresses: [{ host: 'cache.example.com', port: 10000 }],
      tls: true,
      username: 'relay',
      password: 'p@ss/word',
      database: 3,
    });
    expect(load(url('redis://:secret@[fd00::1]:6380/')).redis).toMatchObject({
      addresses: [{ host: 'fd00::1', port: 6380 }],
      username: '',
      password: 'secret',
    });
  });

  it.each([
    ...['127.0.0.1', '127.8.9.1', '[::1]', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1'],
    ...['169.254.1.1', '[fc00::1]', '[fd12::1]', '[fe80::1]', '[::ffff:10.0.0.1]', 'localhost', 'redis', 'redis_1'],
    ...['a.localhost', 'nas.local', 'redis.internal', 'redis.relay.svc', 'redis.relay.svc.cluster.local', 'redis.'],
  ])('may be redis:// for %s', (host) => {
    expect(problems(url(`redis://${host}:6379`))).toEqual([]);
  });

  it.each([
    ...['8.8.8.8', '172.32.0.1', '172.15.0.1', '100.128.0.1', '192.169.0.1', '169.253.0.1', '0.0.0.0', '[::]'],
    ...['[2001:db8::1]', '[::ffff:8.8.8.8]', 'cache.example.com', 'svc.example', 'local.example', 'notlocalhost.com'],
    ...['cache.redis.azure.net', '168.63.129.16'],
  ])('must be rediss:// for %s', (host) => {
    expect(problems(url(`redis://${host}`))).toEqual([
      'RELAY_REDIS_URL: must be rediss://; plain redis:// is for loopback and private addresses only.',
    ]);
    expect(problems(url(`rediss://${host}`))).toEqual([]);
  });

  it.each([
    ...['localhost:6379', 'http://localhost', 'unix:/run/redis.sock', 'redis://', 'redis://localhost/16', 'redis:///0'],
    ...['redis://localhost/a', 'redis://localhost/0/1', 'redis://localhost?db=1', 'redis://localhost#1', 'redis:x'],
    ...['redis://localhost:99999', 'redis://sec%ZZret@localhost', 'redis+sentinel://localhost', 'redis://a b'],
    ...['redis://localhost,', 'redis://secret@localhost,x'],
  ])('that is %s is refused without being shown', (value) => {
    const [problem, ...more] = problems(url(value));
    expect(problem).toMatch(/^RELAY_REDIS_URL: not an address/);
    expect(more).toEqual([]);
    expect(problem).not.toMatch(/sec|6379|sock/);
  });

  it('may list nodes for a cluster only, which has one database and one login', () => {
    const two = 'rediss://a.example,rediss://b.example:7000';
    expect(problems(url(two))).toEqual([expect.stringContaining('RELAY_REDIS_CLUSTER=on')]);
    const cluster = { RELAY_REDIS_CLUSTER: 'on' };
    expect(load(url(two, cluster)).redis).toMatchObject({
      addresses: [
        { host: 'a.example', port: 6379 },
        { host: 'b.example', port: 7000 },
      ],
      isCluster: true,
    });
    expect(load(url('redis://u:p@a,redis://b,redis://u:p@c', cluster)).redis).toMatchObject({ password: 'p' });
    for (const [wrong, why] of [
      ['redis://a/1', 'database 0'],
      ['redis://a,rediss://b', 'begin alike'],
      ['redis://u:p@a,redis://u:q@b', 'same user and password'],
    ] as const) {
      expect(problems(url(wrong, cluster))).toEqual([expect.stringContaining(why)]);
    }
  });

  it('with Entra has no password, and TLS unless it stays on this machine', () => {
    const entra = { RELAY_REDIS_ENTRA: 'on' };
    expect(problems(url('rediss://:pass@cache.example.com:10000', entra))).toEqual([
      'RELAY_REDIS_URL: must not hold a password together with RELAY_REDIS_ENTRA=on.',
    ]);
    expect(problems(url('redis://10.0.0.1', entra))).toEqual([
      'RELAY_REDIS_URL: must be rediss:// with RELAY_REDIS_ENTRA=on.',
    ]);
    expect(problems(url('redis://127.0.0.1', entra))).toEqual([]);
    expect(load(url('rediss://me@cache.example.com', entra)).redis).toMatchObject({
      scope: 'https://redis.azure.com/.default',
      username: 'me',
    });
    expect(load(url('rediss://a.b', { ...entra, RELAY_REDIS_SCOPE: 'https://other/.default' })).redis?.scope).toBe(
      'https://other/.default',
    );
  });

  it('has a prefix without braces, which would put all keys into one slot', () => {
    for (const prefix of ['{x}:', 'a b', 'ä', 'x'.repeat(65)]) {
      expect(problems(url('redis://a', { RELAY_REDIS_PREFIX: prefix }))).toEqual([
        expect.stringMatching(/^RELAY_REDIS_PREFIX: must be/),
      ]);
    }
    expect(load(url('redis://a', { RELAY_REDIS_PREFIX: 'shop:stage-1.' })).redis?.prefix).toBe('shop:stage-1.');
  });

  it('has a key of 32 bytes, or two', () => {
    const [one, two] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
    expect(load(url('redis://a', { RELAY_REDIS_KEY: `${one}, ${two}` })).redis?.keys).toEqual([one, two]);
    for (const wrong of [randomBytes(31).toString('base64'), `${one},${two},${one}`, `${one},`, 'short']) {
      const [problem] = problems(url('redis://a', { RELAY_REDIS_KEY: wrong }));
      expect(problem).toMatch(/^RELAY_REDIS_KEY: must be 32 bytes in base64/);
      expect(problem).not.toContain(wrong);
    }
  });

  it('is shown by `check` without whom it is asked as, and neither it nor the key is in the log', () => {
    const key = randomBytes(32).toString('base64');
    const settings = load(
      url('redis://us%40er:pa%2Fss@127.0.0.1', { RELAY_REDIS_KEY: key }),
      'redis: {ready: require}',
    );
    const { redis } = describeSettings(settings) as { redis: object };
    expect(redis).toEqual({
      url: 'redis://********@127.0.0.1:6379/0',
      entra: null,
      cluster: false,
      prefix: 'rly:',
      key: ['********'],
      when_lost: 'local',
      ready: 'require',
    });
    expect(secretsOf(settings)).toEqual(expect.arrayContaining(['us@er', 'us%40er', 'pa/ss', 'pa%2Fss', key]));
    expect(secretsOf(load(url('redis://default:x@a')))).not.toContain('default');
  });

  it('is what the other settings of Redis need: without it they are ignored, and that is said', () => {
    const rest = { RELAY_REDIS_PREFIX: 'a:', RELAY_REDIS_ENTRA: 'on', RELAY_REDIS_URL: '' };
    const settings = load(rest, 'redis: {when_lost: refuse}');
    expect(settings.redis).toBeNull();
    expect([...settings.warnings].sort()).toEqual([
      'RELAY_REDIS_ENTRA is ignored: RELAY_REDIS_URL is not set.',
      'RELAY_REDIS_PREFIX is ignored: RELAY_REDIS_URL is not set.',
      expect.stringMatching(/^redis is ignored: RELAY_REDIS_URL is not set \(.*relay.yaml:1\)\.$/),
    ]);
    expect(load(url('redis://a'), 'redis: {when_lost: refuse}').redis).toMatchObject({ when_lost: 'refuse' });
    expect(problems(url('redis://a'), 'redis: {when_lost: never}')).toEqual([expect.stringContaining('when_lost')]);
  });
});
