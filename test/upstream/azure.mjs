/** One relay's worth of token use with the real Azure credential, as a process of its own: its cache is process-global. */

import { createCredential, createTokenCache } from '../../dist/upstream/entra.js';

const [clientId, seconds = '0'] = process.argv.slice(2);
const events = [];
const cache = createTokenCache({
  credential: createCredential(clientId === undefined || clientId === '' ? {} : { clientId }),
  scope: 'https://cognitiveservices.azure.com/.default',
  onEvent: (event) => events.push(event),
});
const report = (label, extra = {}) =>
  console.log(
    JSON.stringify({
      label,
      ...extra,
      ...cache.status(),
      acquired: events.filter((e) => e.kind === 'acquired').length,
    }),
  );

const tokens = new Set();
for (let call = 0; call < 1000; call += 1) tokens.add(await cache.token());
report('first', { tokens: [...tokens] });
const until = Date.now() + Number(seconds) * 1000;
while (Date.now() < until) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  const served = await cache.token().then(
    (token) => token,
    () => null,
  );
  if (served === null) {
    report('lost');
    break;
  }
  if (!tokens.has(served)) {
    tokens.add(served);
    report('renewed', { token: served });
  }
}
// Nothing but the unref'ed timers of the cache is left: the process must end by itself, or here.
if (process.argv[4] === 'linger') setTimeout(() => cache.close(), 1200);
