/** `${NAME}` and `${NAME:-default}` in the texts of the file, and `$${` for what is meant literally. */

const reference = /\$\$\{|\$\{(?:([A-Za-z_]\w*)(?:(:?-)([^{}]*))?\}|[^}\n]{0,60}\}?)/g;
const alone = /^\$\{[^{}]*\}$/;

/** The value of an environment variable, or undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

/** Whether a text is nothing but one reference. */
export function isReference(text: string): boolean {
  return alone.test(text);
}

/**
 * Replaces the references in a text. Values come without blanks and line ends around them, which files of secrets and shells
 * leave there, and are not looked into again.
 * @param complain is told of what cannot be replaced, as it stands in the text
 */
export function resolve(text: string, lookUp: Lookup, complain: (problem: string, written: string) => void): string {
  return text.replace(reference, (written: string, name?: string, operator?: string, otherwise?: string) => {
    if (written === '$${') return '${';
    if (name === undefined) {
      complain(
        `${written.trim()} is no \${NAME} or \${NAME:-default}; write $\${ where \${ is meant literally.`,
        written,
      );
      return '';
    }
    const value = lookUp(name)?.trim();
    // As a shell has it: `:-` also takes the place of an empty value.
    if (operator !== undefined && (value === undefined || (value === '' && operator === ':-'))) return otherwise ?? '';
    if (value === undefined) complain(`the environment variable ${name} is not set.`, written);
    return value ?? '';
  });
}
