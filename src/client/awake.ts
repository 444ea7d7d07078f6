/** Audio contexts do not run whenever a page wants: they wait for a gesture, and the system takes them away for a phone call. */

/** Longer than a context takes to start by itself. */
const patienceMs = 1800;

const gestures = ['pointerdown', 'pointerup', 'touchend', 'keydown', 'click', 'visibilitychange'] as const;

/** Calls `act` at each gesture of the user, and when the page comes to the front; the function it returns ends that. */
export function onGesture(act: () => void): () => void {
  for (const gesture of gestures) document.addEventListener(gesture, act, { capture: true });
  return () => {
    for (const gesture of gestures) document.removeEventListener(gesture, act, { capture: true });
  };
}

/**
 * Keeps a context running until the function it returns is called: resumes it at the next gesture when it stands still,
 * and calls `asleep` once each time that takes longer than a moment. Waits for no promise of the context: without a
 * gesture Chromium never settles them.
 */
export function keepAwake(context: AudioContext, asleep: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let endGestures: (() => void) | null = null;
  let isTold = false;

  function tell(): void {
    if (isTold || endGestures === null) return;
    isTold = true;
    asleep();
  }

  function resume(): void {
    context.resume().catch(tell);
  }

  function settle(): void {
    clearTimeout(timer);
    timer = undefined;
    endGestures?.();
    endGestures = null;
    isTold = false;
  }

  function look(): void {
    // Safari says `interrupted` while a call or another app has the sound.
    if (context.state === 'running' || context.state === 'closed') {
      settle();
      return;
    }
    endGestures ??= onGesture(resume);
    timer ??= setTimeout(tell, patienceMs);
    resume();
  }

  context.addEventListener('statechange', look);
  look();
  return () => {
    context.removeEventListener('statechange', look);
    settle();
  };
}
