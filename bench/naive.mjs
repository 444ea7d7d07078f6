// What the samples people copy do: parse every event and serialise it again, with the library's defaults.
import { WebSocket, WebSocketServer } from 'ws';

const [upstream] = process.argv.slice(2);
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' }, () => console.log(server.address().port));
server.on('connection', (client) => {
  const target = new WebSocket(upstream);
  const waiting = [];
  const up = (data) => target.send(JSON.stringify(JSON.parse(data.toString())));
  client.on('message', (data) => (target.readyState === WebSocket.OPEN ? up(data) : waiting.push(data)));
  target.on('open', () => {
    target.send('{"type":"session.update","session":{"type":"realtime"}}');
    for (const data of waiting) up(data);
  });
  target.on('message', (data) => client.send(JSON.stringify(JSON.parse(data.toString()))));
  client.on('close', () => target.close());
  target.on('close', () => client.close());
  client.on('error', () => target.terminate());
  target.on('error', () => client.terminate());
});
