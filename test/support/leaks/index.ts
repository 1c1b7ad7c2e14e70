export {
  ALL_KINDS,
  type Canary,
  createPlants,
  type Kind,
  KNOWN_FORMS,
  ONE_WORD,
  type Plants,
  textOf,
} from './canaries.ts';
export { createSearch, type Find, type Search } from './search.ts';
