export { type FakeProvider, type FakeProviderOptions, startFakeProvider } from './fake-provider.ts';
export { KNOWN_RATES, readLedger, totalNano } from './ledger.ts';
export type { Behave, FakePing, FakeRates, FakeReply, FakeRequest, LedgerEntry } from './types.ts';
