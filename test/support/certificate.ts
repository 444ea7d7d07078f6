/** A throw-away certificate for 127.0.0.1 and localhost, made with the openssl command. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Makes a self-signed certificate; gives the paths of its files. */
export function makeCertificate(commonName = 'localhost'): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'relay-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const cert = join(folder, 'cert.pem');
  const key = join(folder, 'key.pem');
  const subject = ['-subj', `/CN=${commonName}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert, key };
}
