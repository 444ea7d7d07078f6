/** Dials what its arguments name and prints what came of it: a process of its own, to trust a certificate from its start. */

import { dial } from '../../dist/upstream/dial.js';
import { parseEndpoint } from '../../dist/upstream/target.js';

const [key, endpoint, proxy] = process.argv.slice(2);
const upstream = await dial(
  {
    name: 'test',
    endpoint: parseEndpoint(endpoint),
    deployment: 'gpt-realtime',
    dialect: 'ga',
    authorize: {
      header: async () => ({ name: 'api-key', value: key }),
      renew: async () => null,
      status: () => ({ ready: true, detail: null }),
    },
    ...(proxy === undefined ? {} : { proxy }),
  },
  { requestId: 'r', signal: new AbortController().signal, timeoutSeconds: 10 },
);
upstream.socket.once('message', (data) => {
  console.log(data.toString());
  upstream.socket.terminate();
});
upstream.socket.resume();
