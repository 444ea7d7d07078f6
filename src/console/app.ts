/** The console: puts the client of the relay and the parts of the page together. */

import { openCall, openWebSocket, RelayClient, type State } from '../client/relay-client.js';
import { createConversation } from './conversation.js';
import { type ConsoleSettings, createConnectionForm, operatorMint, relayUrl } from './dialing.js';
import { element, make } from './dom.js';
import { createEventList } from './event-list.js';
import { showNumbers } from './numbers.js';
import { createOperatorView } from './operator.js';
import { adviceFor } from './remedies.js';
import { drawLevels } from './waves.js';

const maxProblems = 20;
/** Problems that end no session, after which something is not heard. */
const stopped = new Set(['no_microphone', 'no_sound', 'not_sent', 'unknown_format', 'call_interrupted']);

const settings = await fetch('console.json')
  .then((answer) => answer.json() as Promise<ConsoleSettings>)
  .catch((error: unknown) => String(error));
const known = typeof settings === 'string' ? { demo: false, profiles: [] } : settings;
const form = createConnectionForm(known);
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
  resuming: 'Resuming',
  waiting: 'Waiting',
};

let before: State = 'idle';
client.on('state', ({ state: now, retryInMs }) => {
  state.dataset.state = now;
  state.textContent = retryInMs === undefined ? words[now] : `Again in ${(retryInMs / 1000).toFixed(1)} s`;
  form.lock(now !== 'idle');
  for (const control of [microphone, text, send, interrupt]) control.disabled = now !== 'open' && now !== 'resuming';
  const goesOn = before === 'resuming';
  before = now;
  if (now === 'open') alert.hidden = true;
  if (now === 'open' && !goesOn) {
    conversation.note(
      client.detectsTurns ? 'New session' : 'New session: press the microphone again when you are done',
    );
  }
  showMicrophone();
});
client.on('microphone', showMicrophone);
client.on('transcript', conversation.show);
client.on('interrupted', ({ itemId, playedMs }) => conversation.cutOff(itemId, playedMs));
client.on('event', ({ direction, event }) => {
  events.add(direction, event);
  if (direction === 'received' && event.type === 'relay.tool_result') {
    conversation.tool(String(event.tool), event.result);
  }
  if (direction === 'received' && event.type === 'relay.ignored_fields' && Array.isArray(event.fields)) {
    addProblem('ignored_fields', `The profile of the token does not let through: ${event.fields.join(', ')}.`);
  }
});
client.on('problem', ({ code, message, isFinal, responseId }) => {
  const advice = addProblem(code, message);
  // A refused event is for the developer who sent it; what has stopped is for whoever sits here.
  if (!isFinal && responseId === undefined && !stopped.has(code)) return;
  alert.replaceChildren(make('strong', '', code), ` ${message} ${advice}`);
  alert.dataset.until = responseId === undefined ? code : 'answered';
  alert.hidden = false;
});
client.on('answered', () => settle('answered'));
// A click or a key is what the browser was waiting for.
for (const gesture of ['pointerup', 'keydown']) document.addEventListener(gesture, () => settle('no_sound'));

function settle(what: string): void {
  if (alert.dataset.until === what) alert.hidden = true;
}

function addProblem(code: string, message: string): string {
  const advice = adviceFor(code, location.origin);
  element('problems-panel', HTMLElement).hidden = false;
  problems.prepend(make('li', '', make('strong', '', code), make('p', '', message), make('p', 'advice', advice)));
  while (problems.childElementCount > maxProblems) problems.lastElementChild?.remove();
  return advice;
}
if (typeof settings === 'string') addProblem('no_settings', settings);
showNumbers(client);

const sessions = createOperatorView(operatorMint(known));
function showView(): void {
  const isOperator = location.hash === '#sessions';
  for (const [name, isShown] of Object.entries({ talk: !isOperator, sessions: isOperator })) {
    element(`${name}-view`, HTMLElement).hidden = !isShown;
    const link = element(`to-${name}`, HTMLAnchorElement);
    if (isShown) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  // It is about the conversation.
  state.hidden = isOperator;
  sessions.show(isOperator);
}
window.addEventListener('hashchange', showView);
showView();
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
  if (!client.isListening) {
    // Nobody else notices that the user speaks where nobody detects turns.
    if (!client.detectsTurns) client.interrupt();
    void client.startMicrophone();
    return;
  }
  client.stopMicrophone();
  if (!client.detectsTurns) client.endTurn();
});

function showMicrophone(): void {
  const on = client.detectsTurns ? 'Microphone on' : 'End my turn';
  microphone.setAttribute('aria-pressed', String(client.isListening));
  element('microphone-text', HTMLElement).textContent = client.isListening ? on : 'Microphone off';
}

element('composer', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (!said) return;
  client.sendText(said);
  text.value = '';
});
interrupt.addEventListener('click', () => client.interrupt());
