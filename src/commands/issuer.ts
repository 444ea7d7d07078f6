/** For `check --dial`: whether an issuer of tokens has keys. */

import { createTokenVerifier } from '../admission/verifier.js';
import type { IssuerSettings } from '../config/identity.js';
import type { Settings } from '../config/settings.js';
import { oneLine } from '../terminal.js';
import { keeping } from './print.js';

/** What came of asking for the keys of one issuer. */
export interface IssuerReport {
  readonly issuer: string;
  readonly ok: boolean;
  readonly said: readonly string[];
}

/** Asks one issuer for its keys. */
export async function askForKeys(
  settings: Settings,
  issuer: IssuerSettings,
  print: (line: string) => void,
): Promise<IssuerReport> {
  const { said, say } = keeping(print);
  print(`issuer ${oneLine(issuer.issuer, 256)}:`);
  const { source } = issuer;
  if (source.kind !== 'jwks') {
    say(`verifies with ${issuer.keySetting}`);
    return { issuer: issuer.issuer, ok: true, said };
  }
  const verifier = createTokenVerifier({ ...settings, auth: { ...settings.auth, issuers: [issuer] } });
  try {
    await verifier.warm();
    say(`has keys at ${source.uri}`);
    return { issuer: issuer.issuer, ok: true, said };
  } catch (error) {
    const { cause } = error as Error;
    say(`failed: ${oneLine(cause instanceof Error ? cause.message : String(cause), 1000)}`);
    say(`what to do: check ${issuer.keySetting}, which is ${source.uri}.`);
    return { issuer: issuer.issuer, ok: false, said };
  } finally {
    verifier.close();
  }
}
