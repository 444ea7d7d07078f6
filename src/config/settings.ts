/** The settings as all parts of the relay have them. */

import type { ProxySettings } from '../outbound/proxy.js';
import type { Profile } from '../policy/profile.js';
import type { logLevels } from '../telemetry/log.js';
import type { NoticeType } from '../telemetry/records.js';
import type { InstanceLimits } from './file.js';
import type { IssuerSettings } from './identity.js';
import type { UpstreamSettings } from './resources.js';

/** What is read again while the relay runs, and of which a session keeps what it began with. */
export type LiveSettings = Pick<Settings, 'profiles' | 'limits'>;

/** Where Redis is, and what holds while it is out of reach. */
export interface RedisSettings {
  /** One, or some of the nodes of a cluster. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly tls: boolean;
  /** Empty: that of the Entra token, or Redis's default. */
  readonly username: string;
  readonly password: string;
  readonly database: number;
  readonly isCluster: boolean;
  /** Of the Entra tokens it is reached with; null for a password or none. */
  readonly scope: string | null;
  readonly prefix: string;
  /** In base64, the one that seals first; null: Redis has one itself. */
  readonly keys: readonly string[] | null;
  readonly when_lost: 'local' | 'refuse';
  readonly ready: 'ignore' | 'require';
}

/** The effective configuration. */
export interface Settings {
  /** Null: all addresses there are, of both families where there are both. */
  readonly host: string | null;
  readonly port: number;
  readonly opsPort: number;
  /** Processes that serve the public port; 1: this one, without any other. */
  readonly workers: number;
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** What browsers are told over TLS: to use nothing else for this host, or for all below it. */
  readonly hsts: 'on' | 'subdomains' | 'off';
  readonly upstreams: readonly UpstreamSettings[];
  /** The proxy for what the relay asks of others; each upstream has what comes of it already. */
  readonly proxy: ProxySettings;
  readonly entra: { readonly clientId: string | null; readonly instanceDiscovery: boolean };
  readonly auth: {
    /** One or more; the claim `iss` of a token chooses. */
    readonly issuers: readonly IssuerSettings[];
    readonly maxSeconds: number;
    /** Name of a cookie that may hold an app token, or null. */
    readonly cookie: string | null;
  };
  /** Origins of pages that may connect, `https://*.example.com` for those of one label before it; or `*`. */
  readonly origins: readonly string[] | '*';
  readonly queryCredentials: boolean;
  /** Whether the page to try the relay with is served. */
  readonly console: boolean;
  /** What several replicas have in common; null for a replica that is alone. */
  readonly redis: RedisSettings | null;
  readonly logLevel: (typeof logLevels)[number];
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly limits: InstanceLimits;
  /** The proxies that say from which address a client comes. */
  readonly proxies: { readonly count: number; readonly addresses: readonly string[] };
  /** Where usage records are sent besides the log, or null. */
  readonly usageWebhook: { readonly url: string; readonly secret: string } | null;
  /** Backends that are told of sessions: the new secret first while it is exchanged. */
  readonly webhooks: readonly {
    readonly url: string;
    readonly secrets: readonly string[];
    readonly events: readonly NoticeType[];
  }[];
  /** Things that are probably not meant, for the log. */
  readonly warnings: readonly string[];
}
