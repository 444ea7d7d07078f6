import { describe, expect, it } from 'vitest';
import { createCircuit } from '../../src/upstream/circuit.js';

describe('an upstream that takes connections and stays silent', () => {
  function mute() {
    let now = 0;
    const circuit = createCircuit(() => now);
    const dial = () => circuit.begin().succeeded();
    for (let session = 0; session < 3; session += 1) {
      dial();
      circuit.silent();
    }
    const pass = (milliseconds: number) => {
      now += milliseconds;
    };
    return { circuit, dial, pass };
  }

  it('is left alone after three sessions, and then tried by one session in ten seconds', () => {
    const { circuit, dial, pass } = mute();
    expect(circuit.wait()).toBe(1000);
    pass(1000);
    expect(circuit.wait()).toBe(0);
    dial();
    expect(circuit.wait()).toBe(10_000);
    pass(9000);
    circuit.silent();
    expect(circuit.wait()).toBe(1000);
    pass(1000);
    expect(circuit.wait()).toBe(0);
  });

  it('has everybody again once it was heard', () => {
    const { circuit, dial, pass } = mute();
    pass(1000);
    dial();
    circuit.heard();
    expect(circuit.wait()).toBe(0);
    dial();
    circuit.silent();
    expect(circuit.wait()).toBe(0);
  });

  it('is not left alone for sessions that others were heard between', () => {
    const circuit = createCircuit(() => 0);
    for (let session = 0; session < 9; session += 1) {
      circuit.silent();
      circuit.heard();
    }
    expect(circuit.wait()).toBe(0);
  });
});
