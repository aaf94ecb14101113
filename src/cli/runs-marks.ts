/** Characters that a graph is drawn with. */
export interface GraphMarks {
  line: string;
  through: string;
  split: string;
  splitEnd: string;
  merge: string;
  mergeEnd: string;
  join: string;
  item: string;
  lastItem: string;
  states: Record<string, string>;
  other: string;
}

export const BOX_MARKS: GraphMarks = {
  line: "│",
  through: "─",
  split: "┬",
  splitEnd: "┐",
  merge: "┴",
  mergeEnd: "┘",
  join: "├",
  item: "├ ",
  lastItem: "└ ",
  states: {
    succeeded: "✓",
    failed: "✗",
    dead: "✗",
    timed_out: "✗",
    uncertain: "?",
    running: "▸",
    skipped: "·",
    cancelled: "■",
  },
  other: "○",
};

export const ASCII_MARKS: GraphMarks = {
  line: "|",
  through: "-",
  split: ".",
  splitEnd: ".",
  merge: "'",
  mergeEnd: "'",
  join: "+",
  item: "+ ",
  lastItem: "` ",
  states: {
    succeeded: "*",
    failed: "x",
    dead: "x",
    timed_out: "x",
    uncertain: "?",
    running: ">",
    skipped: "-",
    cancelled: "#",
  },
  other: "o",
};

/** Box characters where the locale can show them (https://pubs.opengroup.org/onlinepubs/9799919799/, LC_ALL goes first). */
export function marksFor(env: Record<string, string | undefined>): GraphMarks {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  return /utf-?8/i.test(locale) ? BOX_MARKS : ASCII_MARKS;
}
