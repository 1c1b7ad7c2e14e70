export {
  appendDrafts,
  type AppendContext,
  type Appended,
  bodyOf,
  chainBreak,
  type ChainBreak,
  EMPTY_HEAD,
  hashOf,
  type Head,
  isAuthentic,
  readEntry,
} from './chain.ts';
