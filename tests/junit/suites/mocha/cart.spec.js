let tries = 0;
describe('cart', () => {
  it('passes', () => {});
  it('fails', () => { throw new (require('assert').AssertionError)({ message: 'off by <one> & more' }); });
  it('errs', () => { throw new Error('no database'); });
  it.skip('skipped', () => {});
  it('pending');
  for (const coin of ['EUR', '日本円']) it(`coin ${coin}`, () => { if (coin !== 'EUR') throw new Error(coin); });
  describe('nested', () => { it('größe <&>', () => {}); });
  it('flaky', function () { this.retries(1); tries += 1; if (tries < 2) throw new Error('first time unlucky'); });
  describe('hook', () => { before(() => { throw new Error('no cluster'); }); it('never', () => {}); });
});
