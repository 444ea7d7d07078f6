/** The console: a page to try the relay with. In the demo, and only there, it can also make tokens. */

import { readdir, readFile } from 'node:fs/promises';
import { type Express, type RequestHandler, Router } from 'express';
import helmet from 'helmet';
import { RelayError } from '../errors.js';
import { jsonBody } from './body.js';

/** The page's files by name. */
export type ConsoleFiles = ReadonlyMap<string, Buffer>;

/** What only the demo's console can do. */
export interface DemoDesk {
  readonly profiles: readonly { readonly name: string; readonly about: string }[];
  /** Makes a token of one of the profiles. */
  mint(profile: string, name: string): string;
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Made from source when the relay runs from source, where a build may be missing or old. */
const source = new URL('../console/build.mjs', import.meta.url);
const built = new URL('../console/', import.meta.url);

/** Loads the page: from the build, or bundled in memory. */
export async function loadConsole(): Promise<ConsoleFiles> {
  if (import.meta.url.endsWith('.ts')) {
    const { buildConsole } = (await import(source.href)) as { buildConsole(): Promise<ConsoleFiles> };
    return buildConsole();
  }
  const names = (await readdir(built)).filter((name) => name.split('.').at(-1) !== undefined && typeOf(name));
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(new URL(name, built))] as const)));
}

/** Serves the page below `/console/`; nothing it loads may come from elsewhere. */
export function consoleRoutes(app: Express, files: ConsoleFiles, desk: DemoDesk | null): void {
  const router = Router();
  router.use(policy);
  router.get('/console.json', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ demo: desk !== null, profiles: desk?.profiles ?? [] });
  });
  if (desk) router.post('/token', ownPage, jsonBody(4096), mint(desk));
  router.get('/{:name}', (request, response, next) => {
    const name = request.params.name || 'index.html';
    const file = files.get(name);
    if (!file) {
      next();
      return;
    }
    // The page's own addresses are relative to the folder.
    if (!request.originalUrl.split('?', 1)[0]?.includes('/console/')) {
      response.redirect(308, `${request.baseUrl}/`);
      return;
    }
    response.set({ 'Content-Type': typeOf(name), 'Cache-Control': 'no-cache' }).send(file);
  });
  app.use('/console', router);
}

function typeOf(name: string): string | undefined {
  return types[name.split('.').at(-1) ?? ''];
}

const policy = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      'default-src': ["'none'"],
      'script-src': ["'self'"],
      'style-src': ["'self'"],
      'img-src': ["'self'"],
      // A page of http: has no `ws:` in `'self'` in every browser.
      'connect-src': ["'self'", 'ws:', 'wss:'],
      'media-src': ["'self'", 'blob:', 'mediastream:'],
      'worker-src': ["'self'", 'blob:'],
      'base-uri': ["'none'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    },
  },
  referrerPolicy: { policy: 'no-referrer' },
  // Said for the whole host already, where it is said.
  strictTransportSecurity: false,
});

/**
 * Lets in who asks from this machine's own page. A page of another site cannot: it is of another origin, and one that made its
 * name resolve to this machine (DNS rebinding) comes with that name as `Host`.
 */
const ownPage: RequestHandler = (request, _response, next) => {
  const { host = '', origin } = request.headers;
  const isLocal = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host);
  if (!isLocal || (origin !== undefined && origin !== `${request.protocol}://${host}`)) {
    throw new RelayError('forbidden', 'The demo makes tokens for its own page only.');
  }
  next();
};

/** Gives a token to whoever was let in. */
function mint(desk: DemoDesk): RequestHandler {
  return (request, response) => {
    const { profile, name } = (request.body ?? {}) as { profile?: unknown; name?: unknown };
    if (typeof profile !== 'string' || !desk.profiles.some((one) => one.name === profile)) {
      throw new RelayError('bad_event', 'The field "profile" must name a profile of the demo.');
    }
    const who = typeof name === 'string' && name.trim() ? name.trim().slice(0, 64) : 'Ada';
    response.set('Cache-Control', 'no-store').json({ token: desk.mint(profile, who) });
  };
}
