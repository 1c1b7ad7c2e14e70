/** Loaded before a service (NODE_OPTIONS=--import): its wall clock is wrong, its monotonic clock is not. */
const skewMs = Number(process.env['CHAOS_CLOCK_SKEW_MS'] ?? 0);
const RealDate = Date;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[]) =>
    Reflect.construct(target, args.length === 0 ? [target.now() + skewMs] : args) as Date,
  get: (target, name): unknown =>
    name === 'now' ? () => target.now() + skewMs : (Reflect.get(target, name) as unknown),
});
