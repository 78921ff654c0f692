import { describe, expect, test } from 'vitest';
let tries = 0;
describe('cart', () => {
  test('passes', () => {});
  test('fails', () => expect(8).toBe(9));
  test('errs', () => { throw new Error('no database'); });
  test.skip('skipped', () => {});
  test.todo('to be done');
  test.fails('expected', () => expect(8).toBe(9));
  test.each(['EUR', '日本円'])('coin %s', (coin) => expect(coin).toBe('EUR'));
  describe('nested', () => { test('größe <&>', () => {}); });
  test('flaky', { retry: 1 }, () => { tries += 1; expect(tries).toBeGreaterThan(1); });
  test('leaves an error behind', () => { Promise.reject(new Error('unhandled')); });
});
