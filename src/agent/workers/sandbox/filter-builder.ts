import { BpfProgram, DATA_ARCH, DATA_CALL } from "./bpf.ts";
import { ERRNO, type ErrnoName } from "./libc.ts";
import { type Arch, type CallName, callNumber } from "./syscalls.ts";

export const ALLOW = 0x7fff0000;
export const KILL = 0x80000000;
export const refusal = (name: ErrnoName): number => 0x00050000 | ERRNO[name];

const AUDIT_ARCH: Record<Arch, number> = { x64: 0xc000003e, arm64: 0xc00000b7 };
const X32_BIT = 0x40000000;

/** Builds a filter rule by rule; every rule ends in a verdict or goes on with the number of the call loaded. */
export class FilterBuilder {
  readonly program = new BpfProgram();
  readonly #arch: Arch;

  constructor(arch: Arch) {
    this.#arch = arch;
    // Any other calling convention has other numbers: int 0x80 on x64, 32-bit programs on arm64, x32.
    this.program.load(DATA_ARCH).ifEqual(AUDIT_ARCH[arch], "native").return(KILL).label("native");
    this.program.load(DATA_CALL);
    if (arch === "x64") this.program.ifAtLeast(X32_BIT, undefined, "64 bit").return(KILL).label("64 bit");
  }

  /** `body` must end in a verdict. Nothing where the architecture has no such call. */
  on(name: CallName, body: (program: BpfProgram) => void): void {
    const number = callNumber(name, this.#arch);
    if (number === null) return;
    const other = this.program.freshLabel();
    this.program.ifEqual(number, undefined, other);
    body(this.program);
    this.program.label(other);
  }

  refuse(names: readonly CallName[], error: ErrnoName): void {
    for (const name of names) this.on(name, (program) => program.return(refusal(error)));
  }

  /** The argument (after the mask) must be one of these. */
  only(name: CallName, argument: number, values: number[], error: ErrnoName, mask?: number): void {
    this.on(name, (program) => {
      const allowed = program.freshLabel();
      program.loadArgument(argument);
      if (mask !== undefined) program.and(mask);
      for (const value of values) program.ifEqual(value, allowed);
      program.return(refusal(error)).label(allowed).return(ALLOW);
    });
  }

  /** The argument (after the mask) must be none of these. */
  never(name: CallName, argument: number, values: number[], error: ErrnoName, mask?: number): void {
    this.on(name, (program) => {
      const refused = program.freshLabel();
      program.loadArgument(argument);
      if (mask !== undefined) program.and(mask);
      for (const value of values) program.ifEqual(value, refused);
      program.return(ALLOW).label(refused).return(refusal(error));
    });
  }

  /** No bit of the mask may be set in the argument. */
  noBit(name: CallName, argument: number, mask: number, error: ErrnoName): void {
    this.on(name, (program) => {
      const refused = program.freshLabel();
      program.loadArgument(argument).ifAnyBit(mask, refused);
      program.return(ALLOW).label(refused).return(refusal(error));
    });
  }

  assemble(): Uint8Array<ArrayBuffer> {
    return this.program.return(ALLOW).assemble();
  }
}
