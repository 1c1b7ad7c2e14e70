/** At most so many characters, and a note: a model that is not told takes what it sees for all there is. */
export const cutToFit = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most)}\n[cut off]` : text;
