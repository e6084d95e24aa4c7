// openai-node: create, the stream helper with its accumulator, parse, error classes.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.CLIENTS_NODE}/package.json`);
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')).href);

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: 'any', maxRetries: 0, timeout: 60_000 });
const model = 'm';
const tools = [
  {
    type: 'function',
    name: 'get_weather',
    description: 'The weather in a city.',
    strict: false,
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
];
const cities = (output) => output.filter((item) => item.type === 'function_call').map((item) => JSON.parse(item.arguments).city);
const last = async (body) => {
  let event;
  for await (event of await client.responses.create({ model, stream: true, ...body }));
  return event;
};

test('a whole response', async () => {
  const response = await client.responses.create({ model, input: 'hello' });
  assert.equal(response.output_text, 'A plain answer of a few words.');
  assert.equal(response.status, 'completed');
  assert.ok(response.usage.total_tokens > 0);
});

test('the stream helper', async () => {
  let text = '';
  const stream = client.responses.stream({ model, input: 'many scripts' });
  stream.on('response.output_text.delta', (event) => {
    text += event.delta;
    assert.equal(event.snapshot, text);
  });
  const response = await stream.finalResponse();
  assert.equal(response.output_text, 'naïve Ωμέγα 日本語 👩‍🚀 done');
  assert.equal(text, response.output_text);
});

test('streamed calls', async () => {
  const response = await client.responses.stream({ model, input: 'two cities', tools }).finalResponse();
  assert.deepEqual(cities(response.output), ['Lyon', 'Porto']);
});

test('a tool loop', async () => {
  const input = [{ role: 'user', content: 'weather please' }];
  const first = await client.responses.stream({ model, input, tools }).finalResponse();
  const call = first.output.find((item) => item.type === 'function_call');
  const result = { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
  const second = await client.responses.create({ model, input: [...input, ...first.output, result], tools });
  assert.match(second.output_text, /umbrella/);
});

test('a tool loop by id', async () => {
  const first = await client.responses.create({ model, input: 'weather please', tools });
  const result = { type: 'function_call_output', call_id: first.output.at(-1).call_id, output: 'rain' };
  const second = await client.responses.create({ model, input: [result], tools, previous_response_id: first.id });
  assert.match(second.output_text, /umbrella/);
  assert.equal((await client.responses.retrieve(second.id)).output_text, second.output_text);
});

test('reasoning', async () => {
  const response = await client.responses.stream({ model, input: 'ponder this' }).finalResponse();
  assert.deepEqual(response.output.map((item) => item.type), ['reasoning', 'message']);
});

test('structured output', async () => {
  const schema = { type: 'object', properties: { name: { type: 'string' }, age: { type: 'integer' } }, required: ['name', 'age'], additionalProperties: false };
  const text = { format: { type: 'json_schema', name: 'person', strict: true, schema } };
  const response = await client.responses.parse({ model, input: 'as JSON', text });
  assert.deepEqual(response.output_parsed, { name: 'Ada', age: 36 });
});

test('a cut answer is incomplete', async () => {
  const event = await last({ input: 'too long' });
  assert.equal(event.type, 'response.incomplete');
  assert.equal(event.response.incomplete_details.reason, 'max_output_tokens');
});

test('a stream that breaks off has failed', async () => {
  assert.equal((await last({ input: 'break in the middle' })).type, 'response.failed');
});

for (const [question, kind] of [
  ['break with 500', OpenAI.InternalServerError],
  ['break with 429', OpenAI.RateLimitError],
  ['break with 401', OpenAI.AuthenticationError],
]) {
  test(`the class of an error: ${question}`, async () => {
    await assert.rejects(last({ input: question }), kind);
    await assert.rejects(client.responses.create({ model, input: question }), kind);
  });
}

test('a bad request', async () => {
  await assert.rejects(client.responses.create({ model }), OpenAI.BadRequestError);
});

test('a stream may be left', async () => {
  const stream = await client.responses.create({ model, input: 'hello', stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  assert.ok((await client.responses.create({ model, input: 'hello' })).output_text);
});
