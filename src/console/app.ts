/** The console: puts the client of the relay and the parts of the page together. */

import { openCall, openWebSocket, RelayClient, type State } from '../client/relay-client.js';
import { adviceFor } from './advice.js';
import { type ConsoleSettings, createConnectionForm, relayUrl } from './connection.js';
import { createConversation } from './conversation.js';
import { element, make } from './dom.js';
import { createEventList } from './events.js';
import { showNumbers } from './numbers.js';
import { drawLevels } from './waves.js';

const maxProblems = 20;

const settings = (await (await fetch('console.json')).json()) as ConsoleSettings;
const form = createConnectionForm(settings);
const conversation = createConversation();
const events = createEventList();
const state = element('state', HTMLParagraphElement);
const alert = element('alert', HTMLParagraphElement);
const problems = element('problems', HTMLOListElement);
const microphone = element('microphone', HTMLButtonElement);
const text = element('text', HTMLInputElement);
const send = element('send', HTMLButtonElement);
const interrupt = element('interrupt', HTMLButtonElement);

const client = new RelayClient({
  url: relayUrl,
  token: () => form.token(),
  transport: (...given) => (form.transport === 'webrtc' ? openCall : openWebSocket)(...given),
});
// For developers: `relay` in the browser's own console is the client.
Object.assign(window, { relay: client });

const words: Record<State, string> = {
  idle: 'Not connected',
  connecting: 'Connecting…',
  open: 'Connected',
  waiting: 'Waiting',
};

client.on('state', ({ state: now, retryInMs }) => {
  state.dataset.state = now;
  state.textContent = retryInMs === undefined ? words[now] : `Again in ${(retryInMs / 1000).toFixed(1)} s`;
  form.lock(now !== 'idle');
  for (const control of [microphone, text, send, interrupt]) control.disabled = now !== 'open';
  if (now === 'open') {
    alert.hidden = true;
    conversation.note('New session');
  }
  showMicrophone();
});
client.on('transcript', conversation.show);
client.on('interrupted', ({ itemId, playedMs }) => conversation.cutOff(itemId, playedMs));
client.on('event', ({ direction, event }) => {
  events.add(direction, event);
  if (direction === 'received' && event.type === 'relay.ignored_fields' && Array.isArray(event.fields)) {
    addProblem('ignored_fields', `The profile of the token does not let through: ${event.fields.join(', ')}.`);
  }
});
client.on('problem', ({ code, message, isFinal }) => {
  const advice = addProblem(code, message);
  if (!isFinal && !code.startsWith('no_')) return;
  alert.replaceChildren(make('strong', '', code), ` ${message} ${advice}`);
  alert.hidden = false;
});

function addProblem(code: string, message: string): string {
  const advice = adviceFor(code, location.origin);
  element('problems-panel', HTMLElement).hidden = false;
  problems.prepend(make('li', '', make('strong', '', code), make('p', '', message), make('p', 'advice', advice)));
  while (problems.childElementCount > maxProblems) problems.lastElementChild?.remove();
  return advice;
}
showNumbers(client);
drawLevels(() => client.levels);

form.onSubmit(() => {
  if (client.state === 'idle') {
    alert.hidden = true;
    client.connect();
  } else {
    client.disconnect();
  }
});

microphone.addEventListener('click', () => {
  if (client.isListening) client.stopMicrophone();
  else void client.startMicrophone().then(showMicrophone);
  showMicrophone();
});

function showMicrophone(): void {
  microphone.setAttribute('aria-pressed', String(client.isListening));
  element('microphone-text', HTMLElement).textContent = client.isListening ? 'Microphone on' : 'Microphone off';
}

element('composer', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (!said) return;
  client.sendText(said);
  text.value = '';
});
interrupt.addEventListener('click', () => client.interrupt());
