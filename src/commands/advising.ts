/** What works and is probably not meant: too much for the log of each start. */

import type { Settings } from '../config/settings.js';
import { toolHints } from '../config/toolrules.js';

/** What works and is probably not meant, for `check`: too much for the log of each start. */
export function hintsOf({ profiles, proxies }: Pick<Settings, 'profiles' | 'proxies'>): string[] {
  const open = [...profiles.values()].filter(({ anonymous }) => anonymous && proxies.count === 0);
  const addresses = open.map(
    ({ name }) =>
      `profiles.${name}.anonymous.per_address counts the addresses of sockets, as trusted_proxies is not set: behind a ` +
      'proxy all visitors have the same one.',
  );
  const vendors = [...profiles.values()]
    .filter(
      ({ session }) => session.type !== 'transcription' && !(session.instructions ?? '').trim() && !session.prompt,
    )
    .map(
      ({ name }) =>
        `profiles.${name}.session.instructions is not set: the model then has the vendor's own instructions, a lively ` +
        'persona that speaks fast and is told to call a function whenever it can. An empty text does not clear them.',
    );
  const wordless = [...profiles.values()]
    .filter(({ session, transcripts: { webhook, log, sideband, include } }) => {
      const isTold = (webhook || log || sideband) && include.includes('user');
      return isTold && !session.audio?.input?.transcription?.model;
    })
    .map(
      ({ name }) =>
        `profiles.${name}.transcripts lack what users say: session.audio.input.transcription.model is not set.`,
    );
  return [...addresses, ...vendors, ...wordless, ...[...profiles.values()].flatMap(toolHints)];
}
