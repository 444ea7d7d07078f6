/** The upstreams: the list of the YAML file, or the one that the variables are the short form of. */

import { z } from 'zod';
import { isLoopback } from '../outbound/addresses.js';
import { type ProxySettings, proxyFor } from '../outbound/proxy.js';
import { type AuthorityVariables, cloudOf, identityWarnings } from './cloud.js';
import { endpointProblem } from './endpoint.js';
import { text } from './shapes.js';

/** One of the list. */
export const upstreamSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, 'a name is 1 to 32 of a-z, 0-9, - and _')
    .describe('Name in metrics and logs.'),
  endpoint: text.describe('Resource endpoint.'),
  deployment: text.describe('Deployment of a realtime model.'),
  dialect: z.enum(['ga', 'preview']).default('ga').describe('Protocol the endpoint speaks.'),
  api_key: text.optional().describe('API key. Left out: Microsoft Entra.'),
  api_version: text.optional().describe('Dated API version, preview only.'),
  scope: text.optional().describe('Entra scope, when it differs from AZURE_OPENAI_SCOPE.'),
});

/** One upstream, as configured. */
export interface UpstreamSettings {
  readonly name: string;
  readonly endpoint: string;
  readonly deployment: string;
  readonly dialect: 'ga' | 'preview';
  readonly apiKey: string | null;
  readonly apiVersion: string;
  readonly scope: string;
  /** HTTP proxy to reach this endpoint through, or null. */
  readonly proxy: string | null;
}

interface ProxyVariables {
  readonly HTTPS_PROXY?: string | undefined;
  readonly NO_PROXY?: string | undefined;
}

/** The variables that are the short form of one upstream, and those that hold for all. */
interface UpstreamVariables extends ProxyVariables, AuthorityVariables {
  readonly AZURE_OPENAI_ENDPOINT?: string | undefined;
  readonly AZURE_OPENAI_REALTIME_DEPLOYMENT?: string | undefined;
  readonly AZURE_OPENAI_DEPLOYMENT?: string | undefined;
  readonly AZURE_OPENAI_DEPLOYMENT_NAME?: string | undefined;
  readonly AZURE_OPENAI_API_KEY?: string | undefined;
  readonly AZURE_OPENAI_API_VERSION?: string | undefined;
  readonly OPENAI_API_VERSION?: string | undefined;
  readonly AZURE_OPENAI_SCOPE?: string | undefined;
}

const previewApiVersion = '2025-04-01-preview';

/** The upstreams of the file, or the one of the variables. What is wrong is added to `problems`. */
export function upstreamsOf(
  env: UpstreamVariables,
  listed: readonly z.output<typeof upstreamSchema>[] | undefined,
  problems: string[],
  warnings: string[],
): UpstreamSettings[] {
  const apiVersion = env.AZURE_OPENAI_API_VERSION ?? env.OPENAI_API_VERSION ?? previewApiVersion;
  if (listed) {
    if (env.AZURE_OPENAI_ENDPOINT) warnings.push('AZURE_OPENAI_ENDPOINT is ignored: RELAY_CONFIG lists upstreams.');
    const names = listed.map(({ name }) => name);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice) problems.push(`upstreams: the name "${twice}" is used twice.`);
    return listed.map((one) =>
      withEndpoint(
        {
          name: one.name,
          endpoint: one.endpoint,
          deployment: one.deployment,
          dialect: one.dialect,
          apiKey: one.api_key ?? null,
          apiVersion: one.api_version ?? apiVersion,
        },
        env,
        {
          endpoint: `upstreams.${one.name}.endpoint`,
          scope: one.scope ? [`upstreams.${one.name}.scope`, one.scope] : null,
        },
        problems,
        warnings,
      ),
    );
  }
  const deployment =
    env.AZURE_OPENAI_REALTIME_DEPLOYMENT ?? env.AZURE_OPENAI_DEPLOYMENT ?? env.AZURE_OPENAI_DEPLOYMENT_NAME;
  if (!env.AZURE_OPENAI_ENDPOINT) {
    problems.push(
      'AZURE_OPENAI_ENDPOINT: missing; set it to https://<resource>.openai.azure.com, or list upstreams in RELAY_CONFIG.',
    );
  }
  if (!deployment) {
    problems.push('AZURE_OPENAI_REALTIME_DEPLOYMENT: missing; set it to the name of your realtime deployment.');
  }
  if (!env.AZURE_OPENAI_ENDPOINT || !deployment) return [];
  const one = {
    name: 'default',
    endpoint: env.AZURE_OPENAI_ENDPOINT,
    deployment,
    dialect: 'ga' as const,
    apiKey: env.AZURE_OPENAI_API_KEY ?? null,
    apiVersion,
  };
  return [withEndpoint(one, env, { endpoint: 'AZURE_OPENAI_ENDPOINT', scope: null }, problems, warnings)];
}

/** The names of an upstream's settings, and its own scope where it has one. */
interface Written {
  readonly endpoint: string;
  readonly scope: readonly [setting: string, scope: string] | null;
}

function withEndpoint(
  one: Omit<UpstreamSettings, 'proxy' | 'scope'>,
  env: UpstreamVariables,
  { endpoint: where, scope: own }: Written,
  problems: string[],
  warnings: string[],
): UpstreamSettings {
  const url = urlOf(one.endpoint);
  if (!url || !['https:', 'wss:', 'http:', 'ws:'].includes(url.protocol)) {
    problems.push(`${where}: not an address; expected something like https://my-resource.openai.azure.com.`);
    return { ...one, scope: '', proxy: null };
  }
  if (['http:', 'ws:'].includes(url.protocol) && !isLoopback(url.hostname)) {
    problems.push(
      `${where}: must be https://; plain http:// would send the credential in the clear and is for loopback only.`,
    );
  }
  const problem = endpointProblem(url, one.deployment);
  if (problem) problems.push(`${where}: ${problem}`);
  const cloud = cloudOf(url.hostname);
  const common = env.AZURE_OPENAI_SCOPE ? (['AZURE_OPENAI_SCOPE', env.AZURE_OPENAI_SCOPE] as const) : null;
  const [setting, scope] = own ?? common ?? [where, cloud.scope];
  if (one.apiKey === null) warnings.push(...identityWarnings(cloud, setting, scope, env));
  return { ...one, scope, proxy: proxyFor(url, proxyOf(env)) };
}

/** The proxy of the environment. */
export function proxyOf({ HTTPS_PROXY, NO_PROXY }: ProxyVariables): ProxySettings {
  return { url: HTTPS_PROXY ?? null, except: NO_PROXY ?? '' };
}

/** A text as URL, or null. */
export function urlOf(input: string): URL | null {
  return URL.canParse(input) ? new URL(input) : null;
}
