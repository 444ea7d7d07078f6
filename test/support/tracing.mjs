/** What an operator writes to load an SDK with `node --import`; its exporter prints, so that a test can read it. */

import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const exporter = {
  export(spans, done) {
    for (const span of spans) {
      const { name, parentSpanContext: parent, attributes, status } = span;
      const { traceId } = span.spanContext();
      process.stdout.write(`${JSON.stringify({ span: name, traceId, parent, attributes, status })}\n`);
    }
    done({ code: 0 });
  },
  shutdown: async () => undefined,
};

new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] }).register();
