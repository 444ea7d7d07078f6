// Backends that follow sessions, in a thread of its own so that what they read costs nobody else time.
import { parentPort, workerData } from 'node:worker_threads';
import { WebSocket } from 'ws';

const { address, key, ids } = workerData;
let events = 0;
let sockets = [];

parentPort.on('message', async (what) => {
  if (what === 'attach') {
    sockets = await Promise.all(ids.map(attach));
  } else {
    const closed = sockets.map((ws) => new Promise((resolve) => ws.once('close', resolve)));
    for (const ws of sockets) ws.close(1000);
    await Promise.all(closed);
  }
  parentPort.postMessage(events);
});

/** Resolves when the session is shown. */
function attach(id) {
  const ws = new WebSocket(`${address}/v1/realtime?call_id=${id}`, { headers: { 'api-key': key } });
  return new Promise((resolve, reject) => {
    ws.once('error', reject);
    ws.once('message', () => resolve(ws));
    ws.on('message', () => {
      events++;
    });
  });
}
