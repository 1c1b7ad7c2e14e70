/**
 * Personal data by its form: e-mail addresses, payment cards, US social security numbers, phone numbers. Patterns
 * are bounded, so that no text takes more than linear time, and narrow: ids, hashes, times and amounts stay.
 */

export type PersonalDataKind = 'EMAIL' | 'CARD' | 'SSN' | 'PHONE';

/** What stands in place of a value; the value is given in its normal form. */
export type Replace = (kind: PersonalDataKind, value: string) => string;

const EMAIL =
  /(?<![\p{L}\p{N}._%+'-])[\p{L}\p{N}._%+'-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}(?![\p{L}\p{N}])/gu;
/** In one piece or in the groups cards are printed in; who issues cards and the check digit decide. */
const CARD =
  /(?<![\w.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|\.\d)/g;
const ISSUED = /^(?:4|5[1-5]|2[2-7]|3[0-9]|6(?:011|[245])|8[126])/;
const SSN = /(?<![\w.+-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-]|\.\d)/g;
const PHONE =
  /(?<![\w.+-])(?:\+\d(?:[ .()-]{0,2}\d){6,14}|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?![\w-]|\.\d)/g;

const digitsOf = (text: string): string => text.replaceAll(/\D/g, '');

/** The check digit of ISO/IEC 7812. */
const passesLuhn = (digits: string): boolean => {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = Number(digits[digits.length - 1 - i]);
    const weighted = i % 2 === 0 ? digit : digit * 2;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
};

export const replacePersonalData = (text: string, replace: Replace): string =>
  text
    .replace(EMAIL, (address) => replace('EMAIL', address.toLowerCase()))
    .replace(CARD, (card) => {
      const digits = digitsOf(card);
      return ISSUED.test(digits) && passesLuhn(digits) ? replace('CARD', digits) : card;
    })
    .replace(SSN, (number) => replace('SSN', digitsOf(number)))
    .replace(PHONE, (number) => replace('PHONE', digitsOf(number)));
