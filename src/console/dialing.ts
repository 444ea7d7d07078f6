/** The form that decides how to connect, and where the token comes from. */

import { element, make } from './dom.js';

/** What the relay tells the console about itself: `profiles` only in the demo, which can make tokens. */
export interface ConsoleSettings {
  readonly demo: boolean;
  readonly profiles: readonly { readonly name: string; readonly about: string }[];
}

export interface ConnectionForm {
  readonly transport: 'websocket' | 'webrtc';
  /** The token to connect with; made anew by the demo each time. */
  token(): Promise<string>;
  /** While a session runs, what it was started with cannot be changed. */
  lock(isLocked: boolean): void;
  onSubmit(listener: () => void): void;
}

/** Where the relay is: the console is served below its root, also behind a proxy that adds a prefix. */
export const relayUrl = new URL('..', document.baseURI).href;

/** The demo's token for whoever looks after its sessions; nobody talks with it. */
const operator = 'operator';

/** What makes an operator's token; null where nothing here does. */
export function operatorMint({ profiles }: ConsoleSettings): (() => Promise<string>) | null {
  return profiles.some(({ name }) => name === operator) ? () => mintToken(operator, operator) : null;
}

async function mintToken(profile: string, name: string): Promise<string> {
  const answer = await fetch('token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ profile, name }),
  });
  if (!answer.ok) throw new Error(`the demo answered ${answer.status}`);
  return ((await answer.json()) as { token: string }).token;
}

export function createConnectionForm({ demo, profiles }: ConsoleSettings): ConnectionForm {
  const form = element('connection', HTMLFormElement);
  const own = element('own', HTMLDivElement);
  const mint = element('mint', HTMLDivElement);
  const profile = element('profile', HTMLSelectElement);
  const about = element('profile-about', HTMLParagraphElement);
  const connect = element('connect', HTMLButtonElement);
  const transport = () =>
    form.querySelector<HTMLInputElement>('[name=transport]:checked')?.value === 'webrtc' ? 'webrtc' : 'websocket';
  const makesToken = () => demo && form.querySelector<HTMLInputElement>('[name=source]:checked')?.value === 'mint';

  element('source', HTMLFieldSetElement).hidden = !demo;
  element('stand-in', HTMLElement).hidden = !demo;
  profile.append(...profiles.filter(({ name }) => name !== operator).map(({ name }) => make('option', '', name)));
  const refresh = () => {
    mint.hidden = !makesToken();
    own.hidden = makesToken();
    element('transport-about', HTMLParagraphElement).hidden = transport() === 'websocket';
    about.textContent = profiles.find(({ name }) => name === profile.value)?.about ?? '';
  };
  form.addEventListener('change', refresh);
  refresh();

  return {
    get transport() {
      return transport();
    },
    async token() {
      if (!makesToken()) return element('token', HTMLTextAreaElement).value;
      return mintToken(profile.value, element('name', HTMLInputElement).value);
    },
    lock(isLocked) {
      for (const field of form.querySelectorAll<HTMLInputElement>('input, select, textarea')) field.disabled = isLocked;
      form.classList.toggle('locked', isLocked);
      connect.textContent = isLocked ? 'Disconnect' : 'Connect';
      connect.classList.toggle('primary', !isLocked);
    },
    onSubmit(listener) {
      form.addEventListener('submit', (event) => {
        event.preventDefault();
        listener();
      });
    },
  };
}
