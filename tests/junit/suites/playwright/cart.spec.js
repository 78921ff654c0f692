const { test, expect } = require('@playwright/test');
test.describe('cart', () => {
  test('passes', () => {});
  test('fails', () => expect(8).toBe(9));
  test('errs', () => { throw new Error('no database'); });
  test.skip('skipped', () => {});
  test.fixme('to be mended', () => {});
  test('expected', () => { test.fail(); expect(8).toBe(9); });
  for (const coin of ['EUR', '日本円']) test(`coin ${coin}`, () => expect(coin).toBe('EUR'));
  test.describe('nested', () => { test('größe <&>', () => {}); });
  test('flaky', ({}, info) => { expect(info.retry).toBeGreaterThan(0); });
});
