/** `realtime-relay talk`: speaks once through a relay. */

import { talk } from '../talk/talk.js';
import { type CliCommand, exitCodes, options, positive, UsageError } from './command.js';
import { print } from './print.js';
import { onSignal } from './signals.js';

/** Speaks a recording or a text, and saves the answer. */
export const talkCommand: CliCommand = {
  help: `  talk <file.wav>       speak a recording through a relay and save the answer
        [--url <url>] [--token <token>] [--text <words>] [--out <file.wav>]
        [--speed <factor>] [--timeout <seconds>] [--insecure]`,
  async run(args) {
    const { values, positionals } = options(
      args,
      {
        url: { type: 'string', default: 'http://127.0.0.1:8080' },
        token: { type: 'string' },
        text: { type: 'string' },
        out: { type: 'string' },
        speed: { type: 'string', default: '1' },
        timeout: { type: 'string', default: '60' },
        insecure: { type: 'boolean', default: false },
      },
      true,
    );
    const [wav] = positionals;
    const token = values.token ?? process.env.RELAY_TOKEN;
    if (!token) throw new UsageError('talk: --token <token> is needed, or RELAY_TOKEN in the environment.');
    if (!wav === !values.text) throw new UsageError('talk: give either a WAV file or --text.');
    const stop = new AbortController();
    onSignal(() => stop.abort());
    const result = await talk({
      url: values.url,
      token,
      ...(wav !== undefined && { wav }),
      ...(values.text !== undefined && { text: values.text }),
      ...(values.out !== undefined && { out: values.out }),
      speed: positive('speed', values.speed),
      timeoutSeconds: positive('timeout', values.timeout),
      insecure: values.insecure,
      print,
      signal: stop.signal,
    });
    return result.ok ? exitCodes.ok : exitCodes.failed;
  },
};
