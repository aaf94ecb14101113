import type { Json, JsonObject } from "../../model/json.ts";
import type { Reference } from "../../model/expression-references.ts";
import type { ParameterDefinition } from "../../model/pipeline.ts";
import type { PluginKind } from "../../model/plugin.ts";

/** A problem inside a value, as a checker finds it. */
export interface InnerProblem {
  path: (string | number)[];
  message: string;
  expected?: string;
  actual?: string;
  /** Names that would have been right there. */
  known?: string[];
}

/** What the catalog of plugins can say about a configuration; asynchronous, as it may have to load plugins. */
export interface PluginChecks {
  known(kind: PluginKind): string[] | Promise<string[]>;
  /** Why there is no such plugin, with the names that are known; a general message when absent. */
  missing?(kind: PluginKind, name: string): string | Promise<string>;
  /** What is wrong with `with`; called only for known plugins. */
  settingsProblems(
    kind: PluginKind,
    name: string,
    settings: JsonObject,
  ): InnerProblem[] | Promise<InnerProblem[]>;
  /** Why the plugin may not run with these settings on this host; called only where the settings are right. */
  refusals?(kind: PluginKind, name: string, settings: JsonObject): string[] | Promise<string[]>;
}

export interface ExpressionChecks {
  /** What is wrong with a CEL condition, or null. */
  checkExpression(source: string): string | null;
  /** What is wrong with a CEL expression that may give anything, or null. */
  checkValue(source: string): string | null;
  /** What is wrong with a CEL expression that must give a list, or null. */
  checkList(source: string): string | null;
  /** Every `${{ }}` in the value that does not compile. */
  checkTemplate(value: Json): InnerProblem[];
  /** Names that the expression asks for; none when it does not compile. */
  references(source: string): Reference[];
  /** The same of every `${{ }}` in the value, with its place. */
  templateReferences(value: Json): { path: (string | number)[]; references: Reference[] }[];
  /** What is wrong with a parameter's declaration. */
  declarationProblems(definition: ParameterDefinition): { key: string; message: string }[];
  /** What is wrong with a value for a parameter, or null. */
  valueProblem(definition: ParameterDefinition, value: Json): string | null;
}

/** Checks that belong to other rooms, handed in. */
export interface ConfigChecks {
  /** Asked for only when the document has something to check: the language is large. */
  expressions: () => Promise<ExpressionChecks>;
  /** Without it plugin names and their settings are not checked. */
  plugins?: PluginChecks;
}

/** CEL and RE2, loaded when they are first needed. */
export async function celChecks(): Promise<ExpressionChecks> {
  const [expressions, references, templates, parameters] = await Promise.all([
    import("../../model/expression.ts"),
    import("../../model/expression-references.ts"),
    import("../../model/template.ts"),
    import("../../model/parameters.ts"),
  ]);
  return {
    checkExpression: expressions.conditionProblem,
    checkValue: expressions.expressionProblem,
    checkList: expressions.listProblem,
    checkTemplate: (value) => templates.templateProblems(value),
    references: references.referencesOf,
    templateReferences: (value) =>
      templates
        .templateSources(value)
        .map(({ path, source }) => ({ path, references: references.referencesOf(source) })),
    declarationProblems: parameters.declarationProblems,
    valueProblem: parameters.valueProblem,
  };
}
