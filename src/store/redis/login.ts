/** As whom Redis is asked: with a password, or with Microsoft Entra tokens that are exchanged before they run out. */

/** What a connection proves who it is with. Source: `credentialsProvider` of `@redis/client`. */
export type Login =
  | { readonly username?: string; readonly password?: string }
  | { readonly credentialsProvider: Provider };

interface Basic {
  readonly username: string;
  readonly password: string;
}

interface Provider {
  readonly type: 'streaming-credentials-provider';
  subscribe(listener: { onNext(next: Basic): void }): Promise<[Basic, { dispose(): void }]>;
  onReAuthenticationError(error: unknown): void;
}

/** Azure ends a connection whose token has run out, and wants the next one three minutes before. */
const marginMs = 3 * 60_000;
const jitterMs = 2 * 60_000;
const againMs = 10_000;
/** However long a token is good for: a timer cannot be set to more than 24 days. */
const longestMs = 24 * 3_600_000;

/** With a password, or with nothing. */
export function passwordLogin(username: string, password: string): Login {
  return { ...(username !== '' && { username }), ...(password !== '' && { password }) };
}

/**
 * With Entra tokens, for every connection anew.
 * @param username empty: the claim `oid` of the token
 * @param token resolves to one that is good now
 * @param failed told when a connection could not be given its next token
 */
export function entraLogin(username: string, token: () => Promise<string>, failed: (error: unknown) => void): Login {
  const next = async (): Promise<Basic & { dueInMs: number }> => {
    const password = await token();
    const { oid, exp } = claimsOf(password);
    const name = username || oid;
    if (!name) throw new Error('The Entra token for Redis has no claim "oid", and RELAY_REDIS_URL names no user.');
    return { username: name, password, dueInMs: exp * 1000 - Date.now() - marginMs - Math.random() * jitterMs };
  };
  return {
    credentialsProvider: {
      type: 'streaming-credentials-provider',
      onReAuthenticationError: failed,
      async subscribe({ onNext }) {
        let timer: NodeJS.Timeout;
        let isOver = false;
        const arm = (ms: number) => {
          if (isOver) return;
          timer = setTimeout(() => void renew(), Math.min(Math.max(ms, againMs), longestMs));
          timer.unref();
        };
        const renew = async () => {
          try {
            const { dueInMs, ...basic } = await next();
            if (isOver) return;
            onNext(basic);
            arm(dueInMs);
          } catch (error) {
            failed(error);
            arm(againMs);
          }
        };
        const { dueInMs, ...basic } = await next();
        arm(dueInMs);
        const dispose = () => {
          isOver = true;
          clearTimeout(timer);
        };
        return [basic, { dispose }];
      },
    },
  };
}

/** What a token says of itself; who made it, Redis verifies. */
function claimsOf(token: string): { oid: string | null; exp: number } {
  const [, payload = ''] = token.split('.');
  try {
    const { oid, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    return { oid: typeof oid === 'string' ? oid : null, exp: typeof exp === 'number' ? exp : hourAhead() };
  } catch {
    // Not a token that can be read: then the URL must name the user.
    return { oid: null, exp: hourAhead() };
  }
}

function hourAhead(): number {
  return Date.now() / 1000 + 3600;
}
