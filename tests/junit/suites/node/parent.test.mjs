import { test } from 'node:test';
test('parent', async (t) => {
  await t.test('passes', () => {});
  throw new Error('no database');
});
