import { dirname, join, resolve } from "node:path/posix";
import type { JsonObject } from "./json.ts";
import type { GrantNotes } from "./grant-notes.ts";
import { parseTemplate, type Reference, REFERENCE_FORMS, settingTexts } from "./references.ts";

export interface Place {
  path: string;
  kind: "file" | "folder";
}

/** Follows every link; null when there is nothing. Anything that is not a folder is a file. */
export type RealPath = (path: string) => Place | null;

/** One text of a manifest with its references filled in. */
export interface Expanded {
  value: string;
  /** For a person: the value, and the text that it comes from. */
  shown: string;
  /** The file whose folder this is, when it comes from `${folder(…)}` alone. */
  file?: string;
}

interface Value {
  text: string;
  file?: string;
}

export interface ExpandContext {
  settings: JsonObject;
  home: string;
  realpath: RealPath;
}

const MAX_VALUES = 500;
const MAX_LENGTH = 4096;

/** The values of one text: as many as its settings have, none when one of them is not set. */
export function expandText(
  permission: string,
  written: string,
  context: ExpandContext,
  notes: GrantNotes,
): Expanded[] {
  const pieces = parseTemplate(written);
  if (pieces === null) {
    notes.refuse(
      permission,
      written,
      "it holds an unknown reference",
      `known: ${REFERENCE_FORMS.join(", ")}`,
    );
    return [];
  }
  let values: Value[] = [{ text: "" }];
  for (const [index, piece] of pieces.entries()) {
    const next: Value[] =
      typeof piece === "string" ? [{ text: piece }] : evaluate(piece, written, permission, context, notes);
    if (values.length * next.length > MAX_VALUES) {
      notes.refuse(
        permission,
        written,
        `it stands for more than ${MAX_VALUES} values`,
        "name a folder instead",
      );
      return [];
    }
    // Whoever fills in a part of a path must not lead it to another place.
    if (index > 0 && typeof piece !== "string" && next.some(({ text }) => text.split("/").includes(".."))) {
      notes.refuse(permission, written, "a setting leads out of its folder with ..", "write it without ..");
      return [];
    }
    values =
      pieces.length === 1
        ? next
        : values.flatMap(({ text }) => next.map((each) => ({ text: text + each.text })));
  }
  return values.flatMap((value) => checked(value, written, permission, notes));
}

function checked({ text, file }: Value, written: string, permission: string, notes: GrantNotes): Expanded[] {
  const value = text.slice(0, 200);
  const shown = text === written ? value : `${value} (${written})`;
  if (text.includes("\0") || text.length > MAX_LENGTH) {
    notes.refuse(
      permission,
      shown.replaceAll("\0", "\\0"),
      "it is too long or holds a zero byte",
      "correct the setting",
    );
    return [];
  }
  return [{ value: text, shown, ...(file === undefined ? {} : { file }) }];
}

function evaluate(
  reference: Reference,
  written: string,
  permission: string,
  context: ExpandContext,
  notes: GrantNotes,
): Value[] {
  if (reference.kind === "home") return [{ text: context.home }];
  if (reference.kind === "setting") {
    return settingTexts(context.settings, reference.path).map((text) => ({ text }));
  }
  const inner = evaluate(reference.of, written, permission, context, notes);
  switch (reference.name) {
    case "folder":
      return inner.map(({ text }) => {
        const file = resolve(context.home, text);
        return { text: dirname(file), file };
      });
    case "program":
      return inner.slice(0, 1).flatMap(({ text }) => programOf(text, context));
    case "endpoint":
      return inner.flatMap(({ text }) => endpointOf(text, written, permission, notes));
  }
}

/** A name without a slash is a file of the home when there is one, else it is found in PATH (`@system`). */
function programOf(name: string, { home, realpath }: ExpandContext): Value[] {
  if (name.includes("/")) return [{ text: resolve(home, name) }];
  const path = join(home, name);
  return realpath(path)?.kind === "file" ? [{ text: path }] : [];
}

function endpointOf(text: string, written: string, permission: string, notes: GrantNotes): Value[] {
  const url = URL.parse(text);
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "") {
    return [{ text: `${url.hostname}:${url.port || (url.protocol === "http:" ? "80" : "443")}` }];
  }
  const shown = `${text.slice(0, 100)} (${written})`;
  notes.refuse(permission, shown, "it is no http:// or https:// address", "correct the setting");
  return [];
}
