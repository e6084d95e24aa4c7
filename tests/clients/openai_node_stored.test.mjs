// openai-node: what is stored, the background, conversations.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.CLIENTS_NODE}/package.json`);
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')).href);

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: 'any', maxRetries: 0, timeout: 60_000 });
const model = 'm';

test('a response is retrieved, listed and deleted', async () => {
  const made = await client.responses.create({ model, input: 'hello' });
  assert.equal((await client.responses.retrieve(made.id)).output_text, made.output_text);
  const items = [];
  for await (const item of client.responses.inputItems.list(made.id)) items.push(item);
  assert.equal(items[0].content[0].text, 'hello');
  await client.responses.delete(made.id);
  await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
});

test('a background response is cancelled', async () => {
  const begun = await client.responses.create({ model, input: 'take your time', background: true });
  assert.equal(begun.status, 'queued');
  assert.equal((await client.responses.cancel(begun.id)).status, 'cancelled');
  assert.equal((await client.responses.retrieve(begun.id)).status, 'cancelled');
});

test('a stream is left and taken up again', async () => {
  const seen = [];
  for await (const event of await client.responses.create({ model, input: 'take your time', background: true, stream: true })) {
    seen.push(event);
    if (event.type === 'response.output_text.delta') break;
  }
  const id = seen[0].response.id;
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: seen.at(-1).sequence_number })) {
    seen.push(event);
  }
  assert.deepEqual(seen.map((event) => event.sequence_number), seen.map((_, number) => number));
  assert.equal(seen.at(-1).type, 'response.completed');
});

test('the helper takes a stream up again', async () => {
  const { id } = await client.responses.create({ model, input: 'take your time', background: true });
  const response = await client.responses.stream({ response_id: id }).finalResponse();
  assert.match(response.output_text, /thirteen$/);
});

test('a conversation', async () => {
  const made = await client.conversations.create({ metadata: { topic: 'x' }, items: [{ role: 'user', content: 'hello' }] });
  const response = await client.responses.create({ model, input: 'ponder this', conversation: made.id });
  assert.equal(response.conversation.id, made.id);
  const items = [];
  for await (const item of client.conversations.items.list(made.id, { order: 'asc', limit: 1 })) items.push(item.type);
  assert.deepEqual(items, ['message', 'message', 'reasoning', 'message']);
  assert.equal((await client.conversations.delete(made.id)).deleted, true);
});
