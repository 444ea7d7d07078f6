/** Files of a throw-away certificate, for what reads them from disk. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { certificatePem, type Options } from './pem.js';

/** Paths of the PEM files. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Makes a certificate whose files are removed when the test is over. */
export function makeCertificate(options: Options = {}): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'relay-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const pem = certificatePem(options);
  writeFileSync(files.cert, pem.cert);
  writeFileSync(files.key, pem.key);
  return files;
}
