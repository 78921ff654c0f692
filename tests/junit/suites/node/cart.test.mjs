import { test, describe, it, before } from 'node:test';
import assert from 'node:assert';
describe('cart', () => {
  it('passes', () => {});
  it('fails', () => assert.strictEqual(8, 9));
  it('errs', () => { throw new Error('no database'); });
  it('skipped', { skip: 'no card reader' }, () => {});
  it('to do', { todo: true }, () => { throw new Error('rounding'); });
  for (const coin of ['EUR', '日本円']) it(`coin ${coin}`, () => assert.strictEqual(coin, 'EUR'));
  describe('nested', () => { it('größe <&>', () => {}); it('passes', () => {}); });
});
test('parent', async (t) => {
  await t.test('passes', () => {});
  await t.test('fails', () => { throw new Error('no'); });
});
test('top level', () => {});
test('parent fails itself', async (t) => {
  await t.test('passes', () => {});
  throw new Error('no database');
});
describe('hook', () => { before(() => { throw new Error('no cluster'); }); it('never', () => {}); });
