/** Waiting for something, and for so long at the most. */

/** Resolves to whether a promise has settled within `ms`; what it settles to is not looked at. The timer ends with the wait. */
export function inTime(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    const settled = () => {
      clearTimeout(timer);
      resolve(true);
    };
    promise.then(settled, settled);
  });
}
