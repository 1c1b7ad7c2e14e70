/** Of this source, as released. */
export const VERSION = '0.1.0';
