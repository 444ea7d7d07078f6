/** A receiver of webhooks: verifies every signature, answers as told, and keeps what came. */

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import { keyOf, sign } from '../../src/outbound/sign.js';

export const webhookSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

/** One request. */
export interface Post {
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: { type: string; timestamp: string; data: Record<string, unknown> };
  /** What it was answered; null: nothing. */
  readonly status: number | null;
}

export interface Receiver {
  readonly url: string;
  readonly posts: Post[];
  /** What was taken, once for each id, in the order of the sessions' numbers. */
  taken(type?: string): Post['body'][];
  /** Resolves when this is so. */
  until(isSo: () => boolean): Promise<void>;
}

/** Starts one; `answer` is asked for the status of each request, with a header `Retry-After` where it gives one. */
export async function startReceiver(
  answer: (count: number, post: Omit<Post, 'status'>) => number | null | { status: number; retryAfter: string } = () =>
    204,
  secret = webhookSecret,
): Promise<Receiver> {
  const posts: Post[] = [];
  const lookers = new Set<() => void>();
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const { headers } = request;
      const id = String(headers['webhook-id']);
      const signed = sign(keyOf(secret), id, Number(headers['webhook-timestamp']), text);
      const signatures = String(headers['webhook-signature']).split(' ');
      const post = { id, headers, body: JSON.parse(text) as Post['body'] };
      const told = answer(posts.length + 1, post);
      const status = typeof told === 'object' && told !== null ? told.status : told;
      posts.push({ ...post, status: signatures.includes(signed) ? status : 401 });
      if (typeof told === 'object' && told !== null) response.setHeader('Retry-After', told.retryAfter);
      if (status !== null) response.writeHead(status).end();
      for (const look of [...lookers]) look();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    expect(posts.filter(({ status }) => status === 401)).toEqual([]);
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    posts,
    taken(type) {
      const ids = new Map(
        posts.filter(({ status }) => status !== null && status < 300).map(({ id, body }) => [id, body]),
      );
      return [...ids.values()]
        .filter((body) => type === undefined || body.type === type)
        .sort((a, b) => Number(a.data.seq) - Number(b.data.seq));
    },
    until: (isSo) =>
      new Promise((resolve) => {
        const look = () => {
          if (!isSo()) return;
          lookers.delete(look);
          resolve();
        };
        lookers.add(look);
        look();
      }),
  };
}
