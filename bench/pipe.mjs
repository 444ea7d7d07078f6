// The least a Node process can do between two sockets: it does not look at a byte.
import { connect, createServer } from 'node:net';

const [port] = process.argv.slice(2);
const server = createServer({ noDelay: true }, (client) => {
  const target = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
  client.pipe(target).pipe(client);
  client.on('error', () => target.destroy());
  target.on('error', () => client.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
