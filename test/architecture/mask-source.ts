export interface MaskedSource {
  /** The source with comments and the insides of strings, templates and regular expressions blanked; same length. */
  code: string;
  /** Contents of string literals by the position of their opening quote. */
  strings: Map<number, string>;
}

/** Words after which a slash begins a regular expression and not a division. */
const BEFORE_REGEXP =
  /(?:^|[([{,;=:!&|?+\-*%<>~^}]|\b(?:return|typeof|case|in|of|do|else|void|yield|await|throw))\s*$/;

/** Tells code from text, well enough for the rules of this folder; not a parser. */
export function maskSource(source: string): MaskedSource {
  return new Masker(source).run();
}

class Masker {
  readonly #out: string[];
  readonly #strings = new Map<number, string>();
  /** Open braces inside each open template expression; the last is the innermost. */
  readonly #templates: number[] = [];
  #at = 0;

  constructor(readonly source: string) {
    this.#out = source.split("");
  }

  run(): MaskedSource {
    while (this.#at < this.source.length) this.#step();
    return { code: this.#out.join(""), strings: this.#strings };
  }

  #step(): void {
    const char = this.source[this.#at]!;
    const next = this.source[this.#at + 1];
    if (char === "/" && next === "/") return this.#blankTo(this.#find("\n"));
    if (char === "/" && next === "*") return this.#blankTo(this.#find("*/", 2) + 2);
    if (char === '"' || char === "'") return this.#string(char);
    if (char === "`") return this.#template();
    if (char === "/" && BEFORE_REGEXP.test(this.#codeBefore())) return this.#regularExpression();
    this.#brace(char);
    this.#at += 1;
  }

  #brace(char: string): void {
    const depth = this.#templates.at(-1);
    if (depth === undefined) return;
    if (char === "{") this.#templates[this.#templates.length - 1] = depth + 1;
    if (char !== "}") return;
    if (depth > 0) this.#templates[this.#templates.length - 1] = depth - 1;
    else {
      this.#templates.pop();
      this.#template();
    }
  }

  #string(quote: string): void {
    const start = this.#at;
    const end = this.#closing((char) => char === quote || char === "\n");
    this.#strings.set(start, this.source.slice(start + 1, end));
    this.#at = start + 1;
    this.#blankTo(end);
    this.#at = end + 1;
  }

  /** From a backtick, or from the brace that ends an expression, to the next expression or the end. */
  #template(): void {
    const end = this.#closing((char, at) => char === "`" || (char === "$" && this.source[at + 1] === "{"));
    this.#at += 1;
    this.#blankTo(end);
    if (this.source[end] === "$") {
      this.#templates.push(0);
      this.#at = end + 2;
    } else this.#at = end + 1;
  }

  #regularExpression(): void {
    let inClass = false;
    const end = this.#closing((char) => {
      if (char === "[") inClass = true;
      if (char === "]") inClass = false;
      return char === "\n" || (char === "/" && !inClass);
    });
    this.#at += 1;
    this.#blankTo(end);
    this.#at = end + 1;
  }

  /** Position of the first character after the current one that ends what began here; a backslash skips one. */
  #closing(ends: (char: string, at: number) => boolean): number {
    for (let at = this.#at + 1; at < this.source.length; at++) {
      if (this.source[at] === "\\") at += 1;
      else if (ends(this.source[at]!, at)) return at;
    }
    return this.source.length;
  }

  #find(text: string, from = 0): number {
    const found = this.source.indexOf(text, this.#at + from);
    return found < 0 ? this.source.length : found;
  }

  #blankTo(end: number): void {
    for (; this.#at < end && this.#at < this.source.length; this.#at++) {
      if (this.source[this.#at] !== "\n") this.#out[this.#at] = " ";
    }
  }

  #codeBefore(): string {
    return this.#out.slice(Math.max(0, this.#at - 80), this.#at).join("");
  }
}
