// The Vercel AI SDK, which checks every chunk: @ai-sdk/openai and @ai-sdk/open-responses.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

// These packages have no entry for require(), so their own table of entries is read.
const load = (name) => {
  const folder = `${process.env.CLIENTS_NODE}/node_modules/${name}`;
  const entry = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).exports['.'];
  const found = entry.import?.default ?? entry.import ?? entry.default;
  return import(pathToFileURL(`${folder}/${found}`).href);
};
const { generateText, isStepCount, jsonSchema, streamText, tool } = await load('ai');
const { createOpenAI } = await load('@ai-sdk/openai');
const { createOpenResponses } = await load('@ai-sdk/open-responses');

globalThis.AI_SDK_LOG_WARNINGS = false;
const base = process.env.BASE_URL;
const models = {
  openai: createOpenAI({ baseURL: base, apiKey: 'any' }).responses('m'),
  'open-responses': createOpenResponses({ name: 'bridge', url: `${base}/responses`, apiKey: 'any' })('m'),
};
const city = jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] });
const tools = {
  get_weather: tool({ description: 'The weather.', inputSchema: city, execute: async (asked) => `rain in ${asked.city}` }),
};
const stopWhen = isStepCount(3);

// Runs a stream to its end; every part and every error is kept.
async function stream(options) {
  const errors = [];
  const parts = [];
  const result = streamText({ maxRetries: 0, onError: ({ error }) => errors.push(error), ...options });
  for await (const part of result.fullStream ?? result.stream) parts.push(part);
  errors.push(...parts.filter((part) => part.type === 'error').map((part) => part.error));
  const text = parts.filter((part) => part.type === 'text-delta').map((part) => part.text ?? part.delta);
  return { result, parts, errors, text: text.join('') };
}

test('openai: a second turn refers to the items of the first', async () => {
  const bodies = [];
  const model = createOpenAI({
    baseURL: base,
    apiKey: 'any',
    fetch: (url, init) => {
      bodies.push(JSON.parse(init.body));
      return fetch(url, init);
    },
  }).responses('m');
  const user = (content) => ({ role: 'user', content });
  const first = await generateText({ model, messages: [user('ponder this')], maxRetries: 0 });
  const messages = [user('ponder this'), ...first.response.messages, user('hello')];
  const second = await generateText({ model, messages, maxRetries: 0 });
  assert.equal(second.text, 'A plain answer of a few words.');
  assert.deepEqual(bodies[1].input.map((item) => item.type ?? item.role), ['user', 'item_reference', 'item_reference', 'user']);
});

for (const [name, model] of Object.entries(models)) {
  test(`${name}: text`, async () => {
    const answer = await generateText({ model, prompt: 'hello', maxRetries: 0 });
    assert.equal(answer.text, 'A plain answer of a few words.');
    assert.equal(answer.finishReason, 'stop');
  });

  test(`${name}: streamed text`, async () => {
    const { result, errors, text } = await stream({ model, prompt: 'many scripts' });
    assert.deepEqual(errors, []);
    assert.equal(text, 'naïve Ωμέγα 日本語 👩‍🚀 done');
    assert.ok((await result.usage).outputTokens > 0);
  });

  test(`${name}: a tool loop`, async () => {
    const answer = await generateText({ model, prompt: 'weather please', tools, stopWhen, maxRetries: 0 });
    assert.match(answer.text, /umbrella/);
    assert.equal(answer.steps[0].finishReason, 'tool-calls');
  });

  test(`${name}: a streamed loop with two calls`, async () => {
    const { parts, errors, text } = await stream({ model, prompt: 'two cities', tools, stopWhen });
    assert.deepEqual(errors, []);
    assert.deepEqual(parts.filter((part) => part.type === 'tool-call').map((part) => part.input.city), ['Lyon', 'Porto']);
    assert.match(text, /umbrella/);
  });

  test(`${name}: streamed reasoning`, async () => {
    const providerOptions = { openai: { reasoningSummary: 'auto', forceReasoning: true } };
    const { parts, errors, text } = await stream({ model, prompt: 'ponder this', providerOptions });
    assert.deepEqual(errors, []);
    assert.ok(parts.some((part) => part.type === 'reasoning-delta'));
    assert.equal(text, 'It is 54.');
  });

  test(`${name}: a cut answer`, async () => {
    const { result } = await stream({ model, prompt: 'too long' });
    assert.equal(await result.finishReason, 'length');
  });

  test(`${name}: an upstream's failure is no failure of validation`, async () => {
    const { errors } = await stream({ model, prompt: 'break with 500' });
    assert.ok(errors.length);
    assert.doesNotMatch(String(errors[0]), /validation/i);
  });

  test(`${name}: a stream that breaks off is not a success`, async () => {
    const { result, errors } = await stream({ model, prompt: 'break in the middle' });
    const finish = await Promise.resolve(result.finishReason).catch(() => 'raised');
    assert.ok(errors.length || finish !== 'stop', finish);
  });
}
