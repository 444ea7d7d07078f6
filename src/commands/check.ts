/** `realtime-relay check`: what cannot work, and with `--dial` what others say: issuers of keys, and upstreams of a session. */

import { randomUUID } from 'node:crypto';
import { createTokenVerifier } from '../admission/verifier.js';
import { readCertificate } from '../config/certificate.js';
import { configFileSchema } from '../config/file.js';
import { loadConfig } from '../config/load.js';
import { describeSettings } from '../config/redact.js';
import type { Settings } from '../config/settings.js';
import { RelayError } from '../errors.js';
import type { Leg } from '../legs/leg.js';
import { upstreamLeg } from '../legs/upstream.js';
import type { Profile } from '../policy/profile.js';
import { renderSession } from '../policy/render.js';
import { ConfigError } from '../problems.js';
import type { Json, JsonObject } from '../protocol/event.js';
import { refusalIn } from '../protocol/refused.js';
import { configureGreeted } from '../session/configure.js';
import { speakTo } from '../session/speak.js';
import { oneLine } from '../terminal.js';
import { createTargets } from '../upstream/configured.js';
import { type Dialed, dial } from '../upstream/dial.js';
import { DialFailure } from '../upstream/failure.js';
import { type UpstreamTarget, upstreamUrl } from '../upstream/target.js';
import { hintsOf } from './advising.js';
import { type CliCommand, exitCodes, options, UsageError } from './command.js';
import { type ToolReport, tryTools } from './endpoints.js';
import { askForKeys, type IssuerReport } from './issuer.js';
import { complain, keeping, print } from './print.js';
import { raceRedis } from './races.js';
import { lookAtRedis } from './redis.js';

/** Says what is wrong with the settings. */
export const checkCommand: CliCommand = {
  help: `  check [--dial]        print the effective configuration; --dial also asks issuers, upstreams and endpoints of tools
        [--redis]       races of replicas against your Redis, under a prefix of their own
        [--json]        all of it as one JSON object
        [--schema]      print the JSON Schema of the RELAY_CONFIG file`,
  async run(args) {
    const { values } = options(args, {
      dial: { type: 'boolean', default: false },
      redis: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      schema: { type: 'boolean', default: false },
    });
    if (values.schema) {
      print(JSON.stringify(configFileSchema(), null, 2));
      return exitCodes.ok;
    }
    return values.json ? checkAsJson(values) : checkAsText(values);
  },
};

/** What is to be tried beside the settings. */
interface Asked {
  readonly dial: boolean;
  readonly redis: boolean;
}

/** Throws ConfigError, as all commands do that need settings. */
async function checkAsText({ dial, redis }: Asked): Promise<number> {
  const settings = loadConfig(process.env);
  checkSettings(settings);
  print(JSON.stringify(describeSettings(settings), null, 2));
  for (const warning of [...settings.warnings, ...hintsOf(settings)]) complain(`warning: ${warning}`);
  if (redis && !settings.redis) throw noRedis();
  await lookAtRedis(settings, complain);
  const isRaced = !redis || (await tryRedis(settings, print));
  const isDialed = !dial || (await checkAll(settings, print)).ok;
  return isRaced && isDialed ? exitCodes.ok : exitCodes.failed;
}

/** One JSON object for programs, whatever is wrong. */
async function checkAsJson({ dial, redis }: Asked): Promise<number> {
  const tell = (report: object) => print(JSON.stringify(report, null, 2));
  try {
    const settings = loadConfig(process.env);
    checkSettings(settings);
    if (redis && !settings.redis) throw noRedis();
    await lookAtRedis(settings, complain);
    const said: string[] = [];
    const raced = redis ? { ok: await tryRedis(settings, (line) => said.push(line)), said } : null;
    const warnings = [...settings.warnings, ...hintsOf(settings)];
    const report = dial ? await checkAll(settings, () => undefined) : null;
    const ok = (report?.ok ?? true) && (raced?.ok ?? true);
    const reports = { ...(report && { dial: report }), ...(raced && { redis: raced }) };
    tell({ ok, problems: [], warnings, settings: describeSettings(settings), ...reports });
    return ok ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell({ ok: false, problems: error.problems, warnings: [], settings: null });
    return exitCodes.config;
  }
}

function noRedis(): UsageError {
  return new UsageError('check: --redis needs RELAY_REDIS_URL, which is not set.');
}

async function tryRedis(settings: Settings, say: (line: string) => void): Promise<boolean> {
  const isGood = await raceRedis(settings, say);
  say(isGood ? 'Redis can be used.' : 'Redis cannot be used.');
  return isGood;
}

/**
 * Finds what cannot work without asking anybody.
 * @throws ConfigError
 */
function checkSettings(settings: Settings): void {
  createTokenVerifier(settings).close();
  createTargets(settings, () => undefined);
  if (settings.tls) readCertificate(settings.tls);
}

/** What came of a session on one upstream with one profile. */
interface UpstreamReport {
  readonly upstream: string;
  readonly profile: string;
  /** Where it was dialled, and as whom. */
  readonly url: string;
  readonly identity: string;
  readonly ok: boolean;
  readonly said: readonly string[];
}

/** All that `check --dial` found out. */
interface DialReport {
  readonly ok: boolean;
  readonly issuers: readonly IssuerReport[];
  readonly upstreams: readonly UpstreamReport[];
  readonly tools: readonly ToolReport[];
}

/** Asks every issuer for its keys, tries every upstream with every profile, and the endpoints of tools. Prints a line for each step. */
async function checkAll(settings: Settings, print: (line: string) => void): Promise<DialReport> {
  const issuers: IssuerReport[] = [];
  for (const issuer of settings.auth.issuers) issuers.push(await askForKeys(settings, issuer, print));
  const upstreams: UpstreamReport[] = [];
  const { targets, caches } = createTargets(settings, () => undefined);
  for (const target of targets) {
    for (const profile of settings.profiles.values()) {
      upstreams.push(await checkUpstream(settings, target, profile, print));
    }
  }
  for (const cache of caches.values()) cache.close();
  const accept = upstreams.every(({ ok }) => ok);
  print(accept ? 'All upstreams accept sessions.' : 'Not all upstreams accept sessions.');
  const tools = await tryTools(settings, print);
  const ok = accept && [...issuers, ...tools].every((report) => report.ok);
  return { ok, issuers, upstreams, tools };
}

async function checkUpstream(
  settings: Settings,
  target: UpstreamTarget,
  profile: Profile,
  print: (line: string) => void,
): Promise<UpstreamReport> {
  const { said, say } = keeping(print);
  print(`upstream ${target.name}, profile ${profile.name}:`);
  const intent = profile.session.type === 'transcription' ? 'transcription' : undefined;
  const url = String(upstreamUrl(target, { intent }));
  const identity = await identityOf(target);
  say(`url ${url}`);
  say(`identity ${identity}`);
  const problem = await tryOne(target, profile, settings, say);
  for (const line of problem ?? []) say(line);
  return { upstream: target.name, profile: profile.name, url, identity, ok: problem === null, said };
}

/** As whom an upstream is asked: what an Entra token says of itself, never the token. */
async function identityOf({ authorize }: UpstreamTarget): Promise<string> {
  let header: Awaited<ReturnType<typeof authorize.header>>;
  try {
    header = await authorize.header();
  } catch {
    // Why, and what to do about it, the dial says better.
    return 'Microsoft Entra, which gave no token';
  }
  const { name, value } = header;
  try {
    if (name === 'api-key') return 'API key';
    const [, payload = ''] = value.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const known = ['appid', 'azp', 'oid', 'tid', 'xms_mirid', 'upn', 'aud'].flatMap((claim) =>
      typeof claims[claim] === 'string' ? [`${claim} ${oneLine(claims[claim], 256)}`] : [],
    );
    return ['Microsoft Entra', ...known].join(', ');
  } catch {
    // Of one that cannot be read nothing is known.
    return 'Microsoft Entra, of a token that does not say';
  }
}

async function tryOne(
  target: UpstreamTarget,
  profile: Profile,
  { limits }: Settings,
  say: (line: string) => void,
): Promise<string[] | null> {
  const requestId = randomUUID();
  const started = performance.now();
  let dialed: Dialed;
  try {
    const signal = new AbortController().signal;
    dialed = await dial(target, {
      requestId,
      signal,
      timeoutSeconds: limits.dial_seconds,
      ...(profile.session.type === 'transcription' && { intent: 'transcription' as const }),
    });
  } catch (error) {
    return explain(error, requestId);
  }
  say(`connected in ${Math.round(performance.now() - started)} ms`);
  const leg = upstreamLeg(dialed, limits, { slowPath: () => undefined, odd: () => undefined });
  try {
    const session = await configure(leg, renderSession(profile, {}), limits.configure_seconds);
    say(`configured in ${Math.round(performance.now() - started)} ms, model ${oneLine(String(session.model), 128)}`);
    return null;
  } catch (error) {
    return [
      `The session could not be configured: ${oneLine((error as Error).message)}`,
      'Check this profile in RELAY_CONFIG.',
    ];
  } finally {
    leg.close({ id: 'normal', event: null });
  }
}

/** What is wrong, what to do, and what Azure's support would ask for. */
function explain(error: unknown, requestId: string): string[] {
  const cause = error instanceof RelayError ? error.cause : error;
  if (!(cause instanceof DialFailure)) return [String((error as Error).message)];
  const ids = Object.entries(cause.requestIds).map(([name, value]) => `${name} ${value}`);
  return [
    `failed (${cause.kind}): ${cause.message}`,
    `what to do: ${cause.advice}`,
    `for support: ${[`x-ms-client-request-id ${requestId}`, ...ids, new Date().toISOString()].join(', ')}`,
  ];
}

/** Sends the profile and waits for its acknowledgement; rejects with upstream's own words. */
function configure(leg: Leg, session: JsonObject, seconds: number): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer in time')), seconds * 1000);
    const settle = (action: () => void) => {
      clearTimeout(timer);
      action();
    };
    const fail = (error: unknown) => settle(() => reject(error));
    const configuration = configureGreeted(session, speakTo(leg));
    leg.start({
      event(event) {
        const outcome = configuration.look(event);
        if (outcome === null) return;
        if ('session' in outcome) settle(() => resolve(outcome.session));
        else fail(new Error(wordsOf(outcome.rejected)));
      },
      unreadable: fail,
      untranslated: () => undefined,
      binary: () => undefined,
      closed: (code) => fail(new Error(`the upstream closed the connection (${code})`)),
      drained: () => undefined,
      violated: fail,
      failed: fail,
      released: () => undefined,
    });
  });
}

function wordsOf(rejected: Json | null): string {
  if (rejected === null) return 'the acknowledgement does not say which session upstream runs';
  return refusalIn(rejected)?.message ?? JSON.stringify(rejected);
}
