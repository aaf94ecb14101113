import { HoldfastError } from "../../../core/errors.ts";

/** Where the parts of `struct seccomp_data` are. */
export const DATA_CALL = 0;
export const DATA_ARCH = 4;
const DATA_ARGUMENTS = 16;
const ARGUMENT_BYTES = 8;

const OP_LOAD = 0x20;
const OP_AND = 0x54;
const OP_JUMP_EQUAL = 0x15;
const OP_JUMP_AT_LEAST = 0x35;
const OP_JUMP_ANY_BIT = 0x45;
const OP_RETURN = 0x06;

const INSTRUCTION_BYTES = 8;
const MAX_INSTRUCTIONS = 4096;
const MAX_JUMP = 255;

interface Instruction {
  op: number;
  value: number;
  /** Labels; the next instruction when absent. */
  ifTrue?: string;
  ifFalse?: string;
}

/**
 * Assembler of classic BPF for seccomp. Jumps go forward to a label; a branch without one goes on with the next
 * instruction. Only the low 32 bits of an argument are loaded: every argument that a filter looks at is an int.
 */
export class BpfProgram {
  readonly #instructions: Instruction[] = [];
  readonly #labels = new Map<string, number>();
  #unnamed = 0;

  load(offset: number): this {
    return this.#add({ op: OP_LOAD, value: offset });
  }

  loadArgument(index: number): this {
    return this.load(DATA_ARGUMENTS + ARGUMENT_BYTES * index);
  }

  and(mask: number): this {
    return this.#add({ op: OP_AND, value: mask });
  }

  ifEqual(value: number, ifTrue?: string, ifFalse?: string): this {
    return this.#add({ op: OP_JUMP_EQUAL, value, ifTrue, ifFalse });
  }

  ifAtLeast(value: number, ifTrue?: string, ifFalse?: string): this {
    return this.#add({ op: OP_JUMP_AT_LEAST, value, ifTrue, ifFalse });
  }

  ifAnyBit(mask: number, ifTrue?: string, ifFalse?: string): this {
    return this.#add({ op: OP_JUMP_ANY_BIT, value: mask, ifTrue, ifFalse });
  }

  return(action: number): this {
    return this.#add({ op: OP_RETURN, value: action });
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new HoldfastError("failed", `BPF: the label ${name} stands twice`);
    this.#labels.set(name, this.#instructions.length);
    return this;
  }

  /** A label that nothing else has. */
  freshLabel(): string {
    return `#${this.#unnamed++}`;
  }

  /** `struct sock_filter` after `struct sock_filter`. Throws on a missing label and on a jump out of reach. */
  assemble(): Uint8Array<ArrayBuffer> {
    if (this.#instructions.length > MAX_INSTRUCTIONS) {
      throw new HoldfastError("failed", `BPF: ${this.#instructions.length} instructions are too many`);
    }
    const code = new DataView(new ArrayBuffer(this.#instructions.length * INSTRUCTION_BYTES));
    this.#instructions.forEach(({ op, value, ifTrue, ifFalse }, at) => {
      const offset = at * INSTRUCTION_BYTES;
      code.setUint16(offset, op, true);
      code.setUint8(offset + 2, this.#distance(at, ifTrue));
      code.setUint8(offset + 3, this.#distance(at, ifFalse));
      code.setUint32(offset + 4, value >>> 0, true);
    });
    return new Uint8Array(code.buffer);
  }

  #add(instruction: Instruction): this {
    this.#instructions.push(instruction);
    return this;
  }

  #distance(from: number, label: string | undefined): number {
    if (label === undefined) return 0;
    const to = this.#labels.get(label);
    if (to === undefined) throw new HoldfastError("failed", `BPF: there is no label ${label}`);
    const distance = to - from - 1;
    if (distance < 0 || distance > MAX_JUMP) {
      throw new HoldfastError("failed", `BPF: the jump to ${label} goes ${distance} instructions far`);
    }
    return distance;
  }
}
