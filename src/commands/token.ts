/** `realtime-relay token`: an app token for one user, signed with the relay's own secret. */

import { signToken } from '../auth/token.js';
import { loadConfig } from '../config/load.js';
import type { Settings } from '../config/settings.js';
import { type CliCommand, exitCodes, options, positive, UsageError } from './command.js';
import { print } from './print.js';

/** Prints a token to try the relay with. */
export const tokenCommand: CliCommand = {
  help: `  token --sub <user>    print an app token signed with RELAY_JWT_SECRET
        [--profile <name>] [--tenant <name>] [--ttl <seconds>] [--claim name=value]…`,
  async run(args) {
    const { values } = options(args, {
      sub: { type: 'string' },
      profile: { type: 'string' },
      tenant: { type: 'string' },
      ttl: { type: 'string', default: '3600' },
      claim: { type: 'string', multiple: true, default: [] },
    });
    if (!values.sub) throw new UsageError('token: --sub <user> is needed.');
    print(signUser(loadConfig(process.env), values.sub, values));
    return exitCodes.ok;
  },
};

/** A token for one user, signed with the relay's own secret. */
function signUser(
  settings: Settings,
  subject: string,
  values: { profile?: string; tenant?: string; ttl: string; claim: string[] },
): string {
  const own = settings.auth.issuers.find(({ source }) => source.kind === 'secrets');
  const [secret] = own?.source.kind === 'secrets' ? own.source.secrets : [];
  if (!own || secret === undefined) {
    throw new UsageError(
      'token: only RELAY_JWT_SECRET can sign; with a public key your identity provider makes the tokens.',
    );
  }
  const claims = values.claim.map((claim): [string, string] => {
    const at = claim.indexOf('=');
    if (at < 1) throw new UsageError(`token: --claim ${claim} must have the form name=value.`);
    return [claim.slice(0, at), claim.slice(at + 1)];
  });
  return signToken({
    secret,
    issuer: [...own.names.keys()][0] ?? own.issuer,
    audience: own.audiences?.[0],
    subject,
    ttlSeconds: positive('ttl', values.ttl),
    claims: {
      ...(own.audiences === null && { client_id: own.clientIds[0] }),
      ...Object.fromEntries(claims),
      ...(values.profile !== undefined && { [own.claims.profile[0] ?? 'profile']: values.profile }),
      ...(values.tenant !== undefined && { [own.claims.tenant[0] ?? 'tenant']: values.tenant }),
    },
  });
}
