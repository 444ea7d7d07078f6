import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type AddressRule, isLoopback, judgedLookup, kindOf, permitsHost } from '../../src/outbound/addresses.js';
import { proxyFor } from '../../src/outbound/proxy.js';

describe('an address', () => {
  it.each(['1.1.1.1', '8.8.8.8', '20.50.2.1', '223.255.255.254', '2606:4700::1111', '2a01:111::1'])(
    '%s is public',
    (one) => {
      expect(kindOf(one)).toBe('public');
    },
  );

  it.each([
    ...['10.0.0.1', '10.255.255.255', '100.64.0.1', '127.0.0.1', '127.1.2.3', '172.16.0.1', '172.31.255.255'],
    ...['192.168.1.1', '::1', 'fc00::1', 'fdff::1'],
  ])('%s is private', (one) => {
    expect(kindOf(one)).toBe('private');
  });

  it.each([
    ...['169.254.0.1', '169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
    ...['168.63.129.16', 'fd00:ec2::254', 'fd20:ce::254', '100.100.100.200'],
  ])('%s is where machines get their credentials, or a neighbour', (one) => {
    expect(kindOf(one)).toBe('link_local');
  });

  it.each([
    ...['0.0.0.0', '0.1.2.3', '192.0.0.8', '192.0.2.1', '192.88.99.1', '198.18.0.1', '198.51.100.1', '203.0.113.1'],
    ...['224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255', '192.31.196.1', '192.52.193.1', '192.175.48.1'],
    ...['::', '100::1', '64:ff9b:1::1', '2001::1', '2001:2::1', '2001:20::1', '2001:db8::1', '3fff::1', '5f00::1'],
    ...['2620:4f:8000::1', 'fec0::1', 'ff02::1', '4000::1', 'not an address', ''],
  ])('%s is special', (one) => {
    expect(kindOf(one)).toBe('special');
  });

  it.each([
    ['169.254.169.254', 'link_local'],
    ['127.0.0.1', 'private'],
    ['10.1.2.3', 'private'],
    ['8.8.8.8', 'public'],
  ])('that carries %s is %s, in whatever form', (inner, kind) => {
    const [a = 0, b = 0, c = 0, d = 0] = inner.split('.').map(Number);
    const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
    const forms = [`::ffff:${inner}`, `::ffff:${hex}`, `::FFFF:${hex}`, `0:0:0:0:0:ffff:${inner}`, `::${inner}`];
    forms.push(`64:ff9b::${inner}`, `64:ff9b::${hex}`, `2002:${hex}::`, `2002:${hex}:1:2:3:4:5`);
    expect(forms.map((form) => isIP(form))).toEqual(forms.map(() => 6));
    expect(forms.map(kindOf)).toEqual(forms.map(() => kind));
  });
});

describe('a host that was written as an address', () => {
  it.each([
    ['public', '127.0.0.1', true],
    ['public', '[::1]', true],
    ['public', '169.254.169.254', false],
    ['public', '[::ffff:a9fe:a9fe]', false],
    ['private', '[fe80::1]', false],
    ['private', '168.63.129.16', false],
    ['any', '169.254.169.254', true],
    ['public', 'example.com', true],
  ] as const)('under "%s" is, for %s, permitted: %s', (rule, host, isPermitted) => {
    expect(permitsHost(rule, host)).toBe(isPermitted);
  });

  it('cannot hide in another spelling of numbers', () => {
    for (const spelling of ['0xa9fea9fe', '2852039166', '0251.0376.0251.0376', '169.254.43518']) {
      expect(permitsHost('private', new URL(`http://${spelling}/`).hostname)).toBe(false);
    }
  });

  it('is this machine in any of its forms', () => {
    const hosts = [
      'localhost',
      '127.0.0.1',
      '127.9.9.9',
      '[::1]',
      '::1',
      'localhost.example',
      '10.0.0.1',
      '127.evil.example',
    ];
    expect(hosts.map(isLoopback)).toEqual([true, true, true, true, true, false, false, false]);
  });
});

describe('a name', () => {
  const look = (rule: AddressRule, name: string, all: boolean) =>
    new Promise((resolve) =>
      judgedLookup(rule)(name, { all }, (error, address) => resolve(error ? error.code : address)),
    );

  it('that is this machine is found where it was written so', async () => {
    expect(await look('public', 'localhost', true)).toEqual(
      expect.arrayContaining([expect.objectContaining({ family: 4 })]),
    );
    expect(await look('private', 'localhost', false)).toMatch(/^(127\.0\.0\.1|::1)$/);
  });

  it('that does not exist fails as it does elsewhere', async () => {
    expect(await look('public', 'nowhere.invalid', true)).toMatch(/^(ENOTFOUND|EAI_AGAIN)$/);
  });
});

describe('a proxy', () => {
  const url = 'http://proxy.example:3128';
  const through = (except: string, host: string) => proxyFor(new URL(`https://${host}/x`), { url, except }) === url;

  it.each([
    ['', 'login.example', true],
    ['login.example', 'login.example', false],
    ['login.example', 'a.login.example', false],
    ['.login.example', 'a.login.example', false],
    ['*.login.example', 'a.login.example', false],
    ['login.example:443', 'LOGIN.example', false],
    ['login.example', 'xlogin.example', true],
    ['a, b  login.example', 'login.example', false],
    ['*', 'login.example', false],
    ['10.0.0.0/8', '10.2.3.4', false],
    ['10.0.0.0/8', '11.2.3.4', true],
    ['10.0.0.5', '10.0.0.5', false],
    ['10.0.0.5:443', '10.0.0.5', false],
    ['fd00::/8', '[fd12::1]', false],
    ['[fd12::1]:443', '[fd12::1]', false],
    ['[fd12::]/16', '[fd12::1]', false],
    ['fd12::1', '[fd12::1]', false],
    ['10.0.0.5:8443', '10.0.0.5:8443', false],
    ['10.0.0.5:8443', '10.0.0.5', true],
    ['login.example:8443', 'login.example', true],
    ['login.example.', 'a.login.example', false],
    ['login.example', 'login.example.', false],
    ['10.0.0.0/99', '10.2.3.4', true],
    ['10.0.0.0/8', 'fd12.example', true],
    ['', '127.0.0.1', false],
    ['', 'localhost', false],
    ['', '[::1]', false],
  ])('with NO_PROXY "%s" is asked for %s: %s', (except, host, isAsked) => {
    expect(through(except, host)).toBe(isAsked);
  });

  it('that was not given is not asked', () => {
    expect(proxyFor(new URL('https://login.example'), { url: null, except: '' })).toBeNull();
  });
});
