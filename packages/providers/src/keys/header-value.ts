/**
 * What the value of an HTTP header may hold: tabs and what is visible in Latin-1. With another character in a key no
 * client sends anything, so such a key is refused where it is read.
 */
export const fitsHeader = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
